/// What an engine says about its KV cache, as vLLM and SGLang publish it (contract `kv-events.md`, section 8).
package enum EngineEvent: Sendable, Hashable {
    case stored(Stored)
    /// - Parameters:
    ///   - hashes: the blocks, signed ones with their bits.
    ///   - medium: where they were; nil is the device.
    case removed(hashes: [UInt64], medium: String?)
    case cleared
    /// An event of a kind that only newer engines have.
    case unknown(String)

    /// Consecutive blocks that were computed.
    package struct Stored: Sendable, Hashable {
        /// The engine's identity of each block, signed ones with their bits.
        package var hashes: [UInt64]
        /// The block before the first one.
        package var parent: UInt64?
        /// The tokens of all blocks.
        package var tokens: [UInt32]
        /// Tokens of a block in this engine.
        package var blockSize: Int
        /// The name of the LoRA adapter; its number is not part of any hash.
        package var lora: String?
        /// Where the blocks are; nil is the device.
        package var medium: String?

        package init(
            hashes: [UInt64],
            parent: UInt64? = nil,
            tokens: [UInt32],
            blockSize: Int,
            lora: String? = nil,
            medium: String? = nil
        ) {
            self.hashes = hashes
            self.parent = parent
            self.tokens = tokens
            self.blockSize = blockSize
            self.lora = lora
            self.medium = medium
        }
    }
}

/// The events of one message.
package struct EngineBatch: Sendable, Hashable {
    package var events: [EngineEvent]
    /// The data-parallel rank of the engine.
    package var rank: UInt32

    package init(events: [EngineEvent], rank: UInt32) {
        self.events = events
        self.rank = rank
    }
}
