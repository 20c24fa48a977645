/// Random identifiers in the form of a version 4 UUID.
enum RandomID {
    static func make() -> String {
        var generator = SystemRandomNumberGenerator()
        var bits = UInt128(generator.next() as UInt64) << 64 | UInt128(generator.next() as UInt64)
        bits = bits & ~(0xF << 76) | (0x4 << 76)
        bits = bits & ~(0x3 << 62) | (0x2 << 62)
        return String(unsafeUninitializedCapacity: 36) { text in
            for position in 0..<36 {
                switch position {
                case 8, 13, 18, 23: text[position] = UInt8(ascii: "-")
                default:
                    let digit = UInt8(truncatingIfNeeded: bits >> 124)
                    text[position] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
                    bits <<= 4
                }
            }
            return 36
        }
    }
}
