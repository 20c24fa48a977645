import HeapModule
import Synchronization

/// The byte-level BPE itself: a vocabulary, and which neighbours become one, in which order.
final class BytePairModel: Sendable {
    /// Words that are longer, in bytes, are not remembered.
    private static let longestCachedWord = 256
    private static let mostCachedWords = 32_768

    struct Merge: Hashable, Sendable {
        var rank: UInt32
        var result: UInt32
    }

    private let vocabulary: [[UInt8]: UInt32]
    private let merges: [UInt64: Merge]
    /// The token of each byte.
    private let bytes: [UInt32?]
    /// For bytes that have no token; nil: they are left out.
    private let unknown: UInt32?
    private let fusesUnknown: Bool
    /// Whether a word that is a token is taken whole, whatever the merges say.
    private let ignoresMerges: Bool
    private let cache = Mutex<[[UInt8]: [UInt32]]>([:])

    init(
        vocabulary: [[UInt8]: UInt32],
        merges: [UInt64: Merge],
        unknown: UInt32?,
        fusesUnknown: Bool,
        ignoresMerges: Bool
    ) {
        self.vocabulary = vocabulary
        self.merges = merges
        self.bytes = (UInt8.min...UInt8.max).map { vocabulary[[$0]] }
        self.unknown = unknown
        self.fusesUnknown = fusesUnknown
        self.ignoresMerges = ignoresMerges
    }

    static func pair(_ left: UInt32, _ right: UInt32) -> UInt64 { UInt64(left) << 32 | UInt64(right) }

    /// Appends the tokens of one word.
    func encode(_ word: [UInt8], to tokens: inout [UInt32]) {
        if word.isEmpty { return }
        if self.ignoresMerges, let token = self.vocabulary[word] { return tokens.append(token) }
        let isShort = word.count <= Self.longestCachedWord
        if isShort, let known = self.cache.withLock({ $0[word] }) { return tokens.append(contentsOf: known) }
        let merged = self.merged(word)
        if isShort {
            self.cache.withLock { cache in
                if cache.count >= Self.mostCachedWords { cache.removeAll(keepingCapacity: true) }
                cache[word] = merged
            }
        }
        tokens.append(contentsOf: merged)
    }

    // MARK: Merging

    /// A pair of neighbours that may become one.
    private struct Candidate: Comparable {
        var rank: UInt32
        /// The left neighbour.
        var position: Int32
        var result: UInt32

        static func < (left: Candidate, right: Candidate) -> Bool {
            (left.rank, left.position) < (right.rank, right.position)
        }
    }

    /// A token in the list of those of a word; an empty one has become part of its left neighbour.
    private struct Symbol {
        var token: UInt32
        var before: Int32
        var after: Int32
        var isPresent = true
    }

    private func merged(_ word: [UInt8]) -> [UInt32] {
        var symbols = self.symbols(word)
        var candidates = Heap<Candidate>()
        func look(at left: Int32) {
            guard left >= 0 else { return }
            let right = symbols[Int(left)].after
            guard right >= 0 else { return }
            let pair = Self.pair(symbols[Int(left)].token, symbols[Int(right)].token)
            guard let merge = self.merges[pair] else { return }
            candidates.insert(Candidate(rank: merge.rank, position: left, result: merge.result))
        }
        for index in symbols.indices { look(at: Int32(index)) }
        while let candidate = candidates.popMin() {
            let left = Int(candidate.position)
            let right = symbols[left].after
            // The list may have changed since: what was found then must still be what stands there.
            guard symbols[left].isPresent, right >= 0,
                let merge = self.merges[Self.pair(symbols[left].token, symbols[Int(right)].token)],
                merge.result == candidate.result
            else { continue }
            let after = symbols[Int(right)].after
            symbols[left].token = candidate.result
            symbols[left].after = after
            symbols[Int(right)].isPresent = false
            if after >= 0 { symbols[Int(after)].before = Int32(left) }
            look(at: symbols[left].before)
            look(at: Int32(left))
        }
        return symbols.compactMap { $0.isPresent ? $0.token : nil }
    }

    private func symbols(_ word: [UInt8]) -> [Symbol] {
        var tokens: [UInt32] = []
        tokens.reserveCapacity(word.count)
        var wasUnknown = false
        for byte in word {
            if let token = self.bytes[Int(byte)] {
                tokens.append(token)
                wasUnknown = false
            } else if let unknown = self.unknown {
                if !(wasUnknown && self.fusesUnknown) { tokens.append(unknown) }
                wasUnknown = true
            }
        }
        return tokens.indices.map { index in
            Symbol(
                token: tokens[index],
                before: Int32(index) - 1,
                after: index + 1 < tokens.count ? Int32(index) + 1 : -1
            )
        }
    }
}
