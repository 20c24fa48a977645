/// The character that stands for each byte in byte-level vocabularies, and the way back.
///
/// Printable bytes of Latin-1 stand for themselves; the others take the characters from U+0100 on in their order, as GPT-2's
/// tokenizer began and all others of this kind do.
enum ByteAlphabet {
    /// By the scalar's value.
    private static let bytes: [UInt8?] = {
        let printable: [ClosedRange<UInt8>] = [0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF]
        var table = [UInt8?](repeating: nil, count: 0x200)
        var next = 0x100
        for byte in UInt8.min...UInt8.max {
            if printable.contains(where: { $0.contains(byte) }) {
                table[Int(byte)] = byte
            } else {
                table[next] = byte
                next += 1
            }
        }
        return table
    }()

    /// The bytes that a token of a vocabulary stands for; nil when a character is not of the alphabet.
    static func bytes(of token: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        for scalar in token.unicodeScalars {
            guard scalar.value < 0x200, let byte = self.bytes[Int(scalar.value)] else { return nil }
            bytes.append(byte)
        }
        return bytes
    }
}
