/// Makes inputs from captures of real traffic: joined, cut and damaged where decoders are most likely to break.
struct FuzzMutator: Sendable {
    private let seeds: [[UInt8]]

    /// Inputs stay below this, so that their number counts and not their size.
    static let maximumSize = 16 * 1024

    private static let numbers: [UInt64] = [
        0, 1, 2, 7, 8, 23, 24, 25, 255, 256, 4095, 4096, 4097, 0x7FFF, 0x8000, 0xFFFF, 0x1_0000, 0x7FFF_FFFF,
        0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000, 0x7FFF_FFFF_FFFF_FFE7, 0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000,
        0xFFFF_FFFF_FFFF_FFE8, 0xFFFF_FFFF_FFFF_FFFF,
    ]

    private static let tokens: [[UInt8]] = [
        #""data":"#, #""event":"error","#, #""comment":["a"],"#, #""error":null"#, #""complete_final":true"#,
        #""kind":"#,
        #"{"Backend":"EngineShutdown"}"#, #"\u0000"#, #"\ud800"#, #"\udc00"#, #"\ud83d\ude00"#, #"\u-000"#, #"\u+0a0"#,
        #"\"#, #"\\"#, #"\x"#, "\"", "{", "}", "[", "]", ":", ",", "null", "true", "fals", "-", "+1", "1e", "1.", ".5",
        "01",
        "1e999", "18446744073709551616", "%", "%zz", "%+A", "/", "\u{0}", "\n", "\u{FEFF}", "\u{1F680}", #"{"a":"#,
    ].map { Array($0.utf8) }

    init(seeds: [[UInt8]]) { self.seeds = seeds.isEmpty ? [[]] : seeds }

    func input(_ random: inout FuzzRandom) -> [UInt8] {
        var bytes = self.seeds[random.below(self.seeds.count)]
        if random.oneIn(4) { bytes += self.seeds[random.below(self.seeds.count)] }
        // Some inputs stay whole, so that what lies behind the first check is reached too.
        for _ in 0..<random.below(5) { self.mutate(&bytes, &random) }
        if bytes.count > Self.maximumSize { bytes.removeLast(bytes.count - Self.maximumSize) }
        return bytes
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout FuzzRandom) {
        let index = random.below(bytes.count)
        let length = min(1 + random.below(32), bytes.count - index)
        switch random.below(11) {
        case 0 where length > 0: bytes[index] ^= 1 << UInt8(random.below(8))
        case 1 where length > 0: bytes[index] = UInt8(truncatingIfNeeded: random.next())
        case 2: bytes.removeSubrange(index..<index + length)
        case 3: bytes.insert(contentsOf: Array(bytes[index..<index + length]), at: index)
        case 4: bytes.removeLast(bytes.count - index)
        case 5: self.writeNumber(&bytes, &random)
        case 6, 7: bytes.insert(contentsOf: Self.tokens[random.below(Self.tokens.count)], at: index)
        case 8: self.nest(&bytes, at: index, &random)
        case 9:
            let other = self.seeds[random.below(self.seeds.count)]
            bytes.replaceSubrange(index..., with: other.dropFirst(random.below(other.count)))
        default: bytes += self.seeds[random.below(self.seeds.count)]
        }
    }

    /// Overwrites a field, most often where frames have their lengths, with a number at the edge of something.
    private func writeNumber(_ bytes: inout [UInt8], _ random: inout FuzzRandom) {
        let number = Self.numbers[random.below(Self.numbers.count)]
        let width = [2, 4, 8][random.below(3)]
        let start = random.oneIn(3) ? random.below(bytes.count) : [0, 2, 8, 16][random.below(4)]
        for offset in 0..<width where start + offset < bytes.count {
            bytes[start + offset] = UInt8(truncatingIfNeeded: number >> UInt64(8 * (width - 1 - offset)))
        }
    }

    private func nest(_ bytes: inout [UInt8], at index: Int, _ random: inout FuzzRandom) {
        let depth = random.oneIn(4) ? 100 + random.below(1500) : 1 + random.below(8)
        let isObject = random.oneIn(2)
        let opening = Array((isObject ? #"{"a":"# : "[").utf8)
        var text: [UInt8] = []
        for _ in 0..<depth { text += opening }
        text += Array("1".utf8)
        if !random.oneIn(4) { text += [UInt8](repeating: UInt8(ascii: isObject ? "}" : "]"), count: depth) }
        bytes.insert(contentsOf: text, at: index)
    }
}
