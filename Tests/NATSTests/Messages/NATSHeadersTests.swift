import Testing

@testable import NATS

@Suite struct NATSHeadersTests {
    @Test func `names are case-sensitive and may have several values`() {
        var headers: NATSHeaders = ["a": "1", "A": "2"]
        headers.add("a", "3")
        #expect(headers["a"] == "1")
        #expect(headers.values("a") == ["1", "3"])
        headers["a"] = "4"
        #expect(headers.values("a") == ["4"])
        headers["A"] = nil
        #expect(headers.fields == [.init(name: "a", value: "4")])
    }

    @Test func `the size is that on the wire`() {
        #expect(NATSHeaders().encodedSize == 0)
        #expect((["k": "value"] as NATSHeaders).encodedSize == "NATS/1.0\r\nk: value\r\n\r\n".utf8.count)
    }

    @Test(arguments: ["", "a b", "a:b", "a\r\nb", "ü", "a\u{0}"])
    func `names that break a header line are refused`(name: String) {
        let headers: NATSHeaders = [name: "v"]
        #expect(throws: NATSError.self) { try headers.validate() }
    }

    @Test(arguments: ["a\r\nX: y", "a\n", "a\u{0}"])
    func `values that break a header line are refused`(value: String) {
        let headers: NATSHeaders = ["k": value]
        #expect(throws: NATSError.self) { try headers.validate() }
    }
}
