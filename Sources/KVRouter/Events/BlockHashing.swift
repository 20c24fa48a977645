import CXXHash

/// Dynamo's hashes of token blocks (contract `kv-events.md`, section 4).
package struct BlockHashing: Hashable, Sendable {
    /// Tokens of a block; only full blocks have a hash.
    package let blockSize: Int
    private let seed: UInt64
    /// Tokens that a block's hash covers: with Eagle one more than the block has.
    private let window: Int

    private static let seed: UInt64 = 1337

    /// - Parameters:
    ///   - blockSize: tokens of a block, at least 1.
    ///   - lora: the name of the LoRA adapter; an empty one counts as none.
    ///   - eagle: whether the engine decodes with Eagle: a block's hash then covers the token after it too (1.2.1 and 1.6.1).
    package init(blockSize: Int, lora: String? = nil, eagle: Bool = false) {
        precondition(blockSize > 0, "a block has at least one token")
        self.blockSize = blockSize
        self.window = eagle ? blockSize + 1 : blockSize
        var lora = lora ?? ""
        self.seed = lora.isEmpty ? Self.seed : Self.seed &+ lora.withUTF8 { XXH3_64bits($0.baseAddress, $0.count) }
    }

    /// The hash of one block's tokens.
    ///
    /// - Parameter tokens: as many as a block has, and the one after it with Eagle.
    /// - Returns: what requests are matched with.
    package func hash(_ tokens: UnsafeBufferPointer<UInt32>) -> TokensHash {
        // Tokens are hashed as little-endian bytes, which is how every machine that runs this holds them.
        TokensHash(rawValue: XXH3_64bits_withSeed(tokens.baseAddress, tokens.count * 4, self.seed))
    }

    /// The hash of a block in which images or other objects begin or go on.
    ///
    /// - Parameters:
    ///   - tokens: as many as a block has, and the one after it with Eagle.
    ///   - objects: the hashes of the block's objects (`mm_hash`), in any order.
    /// - Returns: what requests are matched with.
    package func hash(_ tokens: UnsafeBufferPointer<UInt32>, objects: [UInt64]) -> TokensHash {
        if objects.isEmpty { return self.hash(tokens) }
        var bytes = Array(UnsafeRawBufferPointer(tokens))
        for object in objects.sorted() { withUnsafeBytes(of: object.littleEndian) { bytes.append(contentsOf: $0) } }
        return TokensHash(rawValue: XXH3_64bits_withSeed(bytes, bytes.count, self.seed))
    }

    /// The hash of each full block; an incomplete tail has none.
    ///
    /// - Parameters:
    ///   - tokens: a prompt from its start, or the tokens of consecutive blocks.
    ///   - objects: the hashes of the multimodal objects by block; blocks beyond its end have none.
    /// - Returns: a hash for each block.
    package func hashes(_ tokens: [UInt32], objects: [[UInt64]] = []) -> [TokensHash] {
        guard tokens.count >= self.window else { return [] }
        return tokens.withUnsafeBufferPointer { tokens in
            (0...(tokens.count - self.window) / self.blockSize).map { index in
                let start = index * self.blockSize
                let block = UnsafeBufferPointer(rebasing: tokens[start..<start + self.window])
                return self.hash(block, objects: index < objects.count ? objects[index] : [])
            }
        }
    }

    /// The identity of a block in its prefix, as Dynamo's mocker and routers make it.
    ///
    /// - Parameters:
    ///   - tokens: the block's own hash.
    ///   - parent: the block before it; nil at the start of a sequence.
    /// - Returns: the block's identity.
    package static func chained(_ tokens: TokensHash, after parent: BlockHash?) -> BlockHash {
        guard let parent else { return BlockHash(rawValue: tokens.rawValue) }
        return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2) { pair in
            pair[0] = parent.rawValue.littleEndian
            pair[1] = tokens.rawValue.littleEndian
            return BlockHash(rawValue: XXH3_64bits_withSeed(pair.baseAddress, 16, Self.seed))
        }
    }

    /// The identities of consecutive blocks.
    package static func chained(_ tokens: [TokensHash], after parent: BlockHash? = nil) -> [BlockHash] {
        var last = parent
        return tokens.map { hash in
            let next = Self.chained(hash, after: last)
            last = next
            return next
        }
    }
}
