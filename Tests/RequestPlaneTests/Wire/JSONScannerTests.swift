import NIOCore
import RequestPlane
import Testing

@Suite struct JSONScannerTests {
    private func isValue(_ text: String) -> Bool {
        let buffer = ByteBuffer(string: text)
        var scanner = JSONScanner()
        let bytes = buffer.readableBytesUInt8Span
        guard (try? scanner.skipValue(bytes)) != nil else { return false }
        return (try? scanner.finish(bytes)) != nil
    }

    @Test(arguments: [
        "null", "true", "false", "0", "-0", "12", "-1.5e+10", "1E5", "\"\"", "\"a\\u00e9\\n\\\"\"", "[]", "{}",
        "[1,[2,{\"a\":[]}]]",
        " { \"a\" : [ 1 , 2 ] , \"b\" : null } ", "{\"a\":1,\"a\":2}", "\"\u{1F600}\"",
    ])
    func accepts(_ text: String) { #expect(self.isValue(text)) }

    @Test(arguments: [
        "", " ", "nul", "tru", "nullx", "01", "-", "1.", ".5", "1e", "+1", "\"", "\"\\x\"", "\"\\u12g4\"", "\"\\u12",
        "\"\n\"", "[", "[1", "[1,",
        "[1,]", "[,1]", "[1 2]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{1:1}", "]",
        "}", "{]", "[}", "1 2",
        "'a'", "\"a\" \"b\"", "{\"a\" 1}",
    ])
    func refuses(_ text: String) { #expect(!self.isValue(text)) }

    /// Strings are read several bytes at a time; what ends them must be found wherever it stands.
    @Test(arguments: 0..<20)
    func everyPlaceInAString(_ place: Int) throws {
        for byte in UInt8.min...UInt8.max {
            var text = ByteBuffer(string: "\"" + String(repeating: "x", count: place))
            text.writeBytes([byte, UInt8(ascii: "n")])
            text.writeString(String(repeating: "x", count: 20 - place) + "\"")
            let bytes = text.readableBytesUInt8Span
            var scanner = JSONScanner()
            let scanned = try? scanner.scanString(bytes)
            switch byte {
            case 0..<0x20: #expect(scanned == nil && scanner.position == place + 1)
            case UInt8(ascii: "\""): #expect(scanned?.range == 1..<(place + 1) && scanner.position == place + 2)
            default:
                #expect(scanned?.range == 1..<23 && scanner.position == 24)
                #expect(scanned?.hasEscapes == (byte == UInt8(ascii: "\\")))
            }
        }
    }

    @Test func depthIsLimited() {
        let deep = String(repeating: "[", count: 511) + String(repeating: "]", count: 511)
        #expect(self.isValue(deep))
        #expect(!self.isValue(String(repeating: "[", count: 1_000_000)))
        #expect(!self.isValue(String(repeating: "{\"a\":", count: 1_000_000)))
    }

    @Test(arguments: [
        (#""plain""#, "plain"), (#""a\"b\\c\/d\b\f\n\r\t""#, "a\"b\\c/d\u{8}\u{c}\n\r\t"), (#""\u00e9\u20AC""#, "é€"),
        (#""\ud83d\ude00""#, "😀"), (#""\ud83d""#, "\u{FFFD}"), (#""\ud83dx""#, "\u{FFFD}x"),
        (#""\ude00\ud83d""#, "\u{FFFD}\u{FFFD}"),
        ("\"zwölf 漢字\"", "zwölf 漢字"),
    ])
    func strings(_ text: String, _ expected: String) {
        #expect(JSONObject.string(ByteBuffer(string: text)) == expected)
    }

    @Test(arguments: ["", "plain", "a\"b\\c", "\u{0}\u{1}\u{1f}\u{7f}\n\r\t", "zwölf 漢字 😀", "{\"json\":\"in json\"}"])
    func stringsSurviveARoundTrip(_ text: String) {
        var buffer = ByteBuffer()
        buffer.writeJSONString(text)
        #expect(JSONObject.string(buffer) == text)
        #expect(self.isValue(buffer.text))
    }

    @Test func objectMembers() throws {
        let object = try JSONObject(
            ByteBuffer(string: #" {"s":"x\u0041","n":null,"o":{"k":"v"},"a":["1","2"],"m":[1],"\u0062":1} "#)
        )
        #expect(object.string("s") == "xA")
        #expect(object.isNull("n") && object.isNull("absent") && !object.isNull("s"))
        #expect(object.object("o")?.string("k") == "v")
        #expect(object.strings("a") == ["1", "2"])
        #expect(object.strings("m") == nil)
        #expect(object["b"]?.text == "1")
        #expect(throws: JSONSyntaxError.self) { try JSONObject(ByteBuffer(string: #"{"a":1} x"#)) }
        #expect(throws: JSONSyntaxError.self) { try JSONObject(ByteBuffer(string: "[]")) }
    }

    /// Every prefix and every single-byte change of valid text must be handled, whatever the answer.
    @Test func damagedTextNeverTraps() {
        let text =
            #"{"data":{"data":{"i":0,"t":"a\u00e9\n","x":[1.5e3,true,null]},"event":"e","comment":["c"]},"complete_final":false}"#
        let bytes = Array(text.utf8)
        for length in 0..<bytes.count { _ = try? ItemFrame(ByteBuffer(bytes: bytes[..<length])) }
        for index in bytes.indices {
            for replacement: UInt8 in [0, 0x22, 0x5C, 0x7B, 0x7D, 0x5B, 0x5D, 0x2C, 0x3A, 0x75, 0xFF, 0x20] {
                var damaged = bytes
                damaged[index] = replacement
                _ = try? ItemFrame(ByteBuffer(bytes: damaged))
                _ = try? JSONObject(ByteBuffer(bytes: damaged))
            }
        }
    }
}
