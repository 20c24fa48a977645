/// The BLAKE3 hash, with which model cards name the contents of files.
///
/// Hashing only: no keys, 32 bytes of output. For files of a few megabytes; nothing is done in parallel.
package enum BLAKE3 {
    private static let chunkLength = 1024
    private static let blockLength = 64

    private static let start: [UInt32] = [
        0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19,
    ]

    private static let permutation = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]

    private struct Flags: OptionSet {
        let rawValue: UInt32
        static let chunkStart = Flags(rawValue: 1 << 0)
        static let chunkEnd = Flags(rawValue: 1 << 1)
        static let parent = Flags(rawValue: 1 << 2)
        static let root = Flags(rawValue: 1 << 3)
    }

    /// A compression that is still to do: only then is known whether it is the root's.
    private struct Node {
        var chain: [UInt32]
        var words: [UInt32]
        var counter: UInt64
        var length: UInt32
        var flags: Flags

        func value(_ extra: Flags = []) -> [UInt32] {
            BLAKE3.compress(
                self.chain,
                self.words,
                counter: self.counter,
                length: self.length,
                flags: self.flags.union(extra)
            )
        }
    }

    /// The hash of bytes.
    package static func hash(_ bytes: [UInt8]) -> [UInt8] {
        self.tree(bytes[...], firstChunk: 0).value(.root).flatMap { word in
            (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
        }
    }

    /// The hash of bytes as 64 hexadecimal digits.
    package static func hex(_ bytes: [UInt8]) -> String {
        self.hash(bytes).reduce(into: "") { text, byte in
            if byte < 16 { text += "0" }
            text += String(byte, radix: 16)
        }
    }

    /// The node over bytes: the left side has the largest power of two of chunks that leaves something to the right.
    private static func tree(_ bytes: ArraySlice<UInt8>, firstChunk: UInt64) -> Node {
        guard bytes.count > self.chunkLength else { return self.chunk(bytes, counter: firstChunk) }
        var left = self.chunkLength
        while left * 2 < bytes.count { left *= 2 }
        let middle = bytes.startIndex + left
        let chains =
            self.tree(bytes[..<middle], firstChunk: firstChunk).value()
            + self.tree(bytes[middle...], firstChunk: firstChunk + UInt64(left / self.chunkLength)).value()
        return Node(chain: self.start, words: chains, counter: 0, length: UInt32(self.blockLength), flags: .parent)
    }

    private static func chunk(_ bytes: ArraySlice<UInt8>, counter: UInt64) -> Node {
        var chain = self.start
        var rest = bytes
        var flags = Flags.chunkStart
        while rest.count > self.blockLength {
            chain = self.compress(
                chain,
                self.words(rest.prefix(self.blockLength)),
                counter: counter,
                length: UInt32(self.blockLength),
                flags: flags
            )
            rest = rest.dropFirst(self.blockLength)
            flags = []
        }
        return Node(
            chain: chain,
            words: self.words(rest),
            counter: counter,
            length: UInt32(rest.count),
            flags: flags.union(.chunkEnd)
        )
    }

    /// The words of a block; what is missing is zero.
    private static func words(_ bytes: ArraySlice<UInt8>) -> [UInt32] {
        var words: [UInt32] = Array(repeating: 0, count: 16)
        for (index, byte) in bytes.enumerated() { words[index / 4] |= UInt32(byte) << (8 * (index % 4)) }
        return words
    }

    private static func compress(
        _ chain: [UInt32],
        _ block: [UInt32],
        counter: UInt64,
        length: UInt32,
        flags: Flags
    ) -> [UInt32] {
        var state = chain + self.start[..<4]
        state += [UInt32(truncatingIfNeeded: counter), UInt32(truncatingIfNeeded: counter >> 32)]
        state += [length, flags.rawValue]
        var words = block
        for round in 0..<7 {
            if round > 0 { words = self.permutation.map { words[$0] } }
            for column in 0..<4 {
                self.mix(
                    &state,
                    (column, column + 4, column + 8, column + 12),
                    words[2 * column],
                    words[2 * column + 1]
                )
            }
            for row in 0..<4 {
                let place = (row, 4 + (row + 1) % 4, 8 + (row + 2) % 4, 12 + (row + 3) % 4)
                self.mix(&state, place, words[8 + 2 * row], words[9 + 2 * row])
            }
        }
        return (0..<8).map { state[$0] ^ state[$0 + 8] }
    }

    private static func mix(_ state: inout [UInt32], _ at: (Int, Int, Int, Int), _ first: UInt32, _ second: UInt32) {
        for (word, turns) in [(first, (16, 12)), (second, (8, 7))] {
            state[at.0] = state[at.0] &+ state[at.1] &+ word
            state[at.3] = self.rotate(state[at.3] ^ state[at.0], turns.0)
            state[at.2] = state[at.2] &+ state[at.3]
            state[at.1] = self.rotate(state[at.1] ^ state[at.2], turns.1)
        }
    }

    private static func rotate(_ word: UInt32, _ turns: Int) -> UInt32 { word >> turns | word << (32 - turns) }
}
