import Testing

@testable import NATS

@Suite struct NKeyTests {
    @Test func `the public key belongs to the seed`() throws {
        #expect(try NKey(seed: seed).publicKey == publicKey)
        #expect(try NKey(seed: "  \(seed)\n").publicKey == publicKey)
    }

    @Test(
        arguments: [
            ("", "length"), ("SUAC", "length"), (publicKey, "length"), (seed.lowercased(), "characters"),
            (seed.replacing("SSL3", with: "SSL4"), "damaged"), (seed + "AAAA", "length"),
            // The same bytes as an account's seed.
            (NATSOperator.Key(prefix: 0).seed, "user"),
        ]
    )
    func `what is no seed is refused without repeating it`(text: String, reason: String) {
        let error = #expect(throws: NATSError.self) { try NKey(seed: text) }
        #expect(error?.code == .invalidConfiguration)
        #expect(error?.message.contains(reason) == true, "\(String(describing: error))")
        #expect(text.count < 20 || error?.message.contains(text) == false)
    }

    @Test func `base 32 and the checksum of the standard`() {
        #expect(Base32.encode(Array("foobar".utf8)) == "MZXW6YTBOI")
        #expect(Base32.decode(Array("MZXW6YTBOI".utf8)) == Array("foobar".utf8))
        #expect(Base32.decode(Array("M1".utf8)) == nil)
        #expect(CRC16.checksum(Array("123456789".utf8)[...]) == 0x31C3)
    }
}
