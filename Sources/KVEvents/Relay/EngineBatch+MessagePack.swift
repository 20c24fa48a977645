package import NIOCore

extension EngineBatch {
    /// Reads a batch: `[timestamp, [event, …], rank]`, or a map with these as newer engines write it.
    ///
    /// - Parameter payload: the last frame of an engine's message.
    /// - Throws: `EngineMessageError` when it is something else, or one of its events is: half a batch would be believed.
    package init(_ payload: ByteBuffer) throws(EngineMessageError) {
        var reader = MessagePackReader(payload)
        do throws(MessagePackError) {
            self = try reader.kind == .map ? Self.readMap(&reader) : Self.readArray(&reader)
            try reader.finish()
        } catch {
            throw EngineMessageError(error.description)
        }
    }

    private static func readArray(_ reader: inout MessagePackReader) throws(MessagePackError) -> Self {
        let count = try reader.readArrayCount()
        guard count >= 3 else {
            throw MessagePackError("a batch of \(count) elements instead of time, events and rank", at: reader.offset)
        }
        _ = try reader.readDouble()
        let events = try Self.readEvents(&reader)
        let rank = try reader.readNil() ? 0 : reader.readUInt32()
        for _ in 3..<count { try reader.skip() }
        return Self(events: events, rank: rank)
    }

    private static func readMap(_ reader: inout MessagePackReader) throws(MessagePackError) -> Self {
        var batch = Self(events: [], rank: 0)
        var hasEvents = false
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readKey() {
            case "events":
                batch.events = try Self.readEvents(&reader)
                hasEvents = true
            // A rank that is left out is the default of the engine, which has no ranks.
            case "data_parallel_rank", "dp_rank": batch.rank = try reader.readNil() ? 0 : reader.readUInt32()
            default: try reader.skip()
            }
        }
        guard hasEvents else { throw MessagePackError("a batch without events", at: reader.offset) }
        return batch
    }

    private static func readEvents(_ reader: inout MessagePackReader) throws(MessagePackError) -> [EngineEvent] {
        let count = try reader.readArrayCount()
        var events: [EngineEvent] = []
        // What is announced need not come, and an event here is far larger than the least that announces it.
        events.reserveCapacity(min(count, 256))
        for _ in 0..<count {
            var fields = EngineEventFields()
            switch try reader.kind {
            case .array: try fields.readArray(&reader)
            case .map: try fields.readMap(&reader)
            case let kind:
                throw MessagePackError(
                    "an event that is a \(kind.rawValue) instead of an array or map",
                    at: reader.offset
                )
            }
            events.append(try fields.event(at: reader.offset))
        }
        return events
    }
}

/// The fields of an event as they were found.
private struct EngineEventFields {
    var kind: String?
    var hashes: [UInt64]?
    var parent: UInt64?
    var tokens: [UInt32]?
    var blockSize: UInt32?
    var medium: String?
    var lora: String?

    func event(at offset: Int) throws(MessagePackError) -> EngineEvent {
        switch self.kind {
        case "BlockStored":
            guard let hashes, let tokens, let blockSize else {
                throw MessagePackError("a BlockStored without hashes, tokens or block size", at: offset)
            }
            return .stored(
                EngineEvent.Stored(
                    hashes: hashes,
                    parent: self.parent,
                    tokens: tokens,
                    blockSize: Int(blockSize),
                    lora: self.lora,
                    medium: self.medium
                )
            )
        case "BlockRemoved":
            guard let hashes else { throw MessagePackError("a BlockRemoved without hashes", at: offset) }
            return .removed(hashes: hashes, medium: self.medium)
        case "AllBlocksCleared": return .cleared
        case let kind?: return .unknown(kind)
        case nil: throw MessagePackError("an event that does not say its type", at: offset)
        }
    }

    // MARK: Arrays

    mutating func readArray(_ reader: inout MessagePackReader) throws(MessagePackError) {
        let count = try reader.readArrayCount()
        guard count > 0 else { throw MessagePackError("an event of no elements", at: reader.offset) }
        self.kind = try reader.readString()
        for index in 1..<max(count, 1) {
            switch (self.kind, index) {
            case ("BlockStored", 1), ("BlockRemoved", 1): self.hashes = try Self.readHashes(&reader)
            case ("BlockStored", 2): self.parent = try Self.readParent(&reader)
            case ("BlockStored", 3): self.tokens = try Self.readTokens(&reader)
            case ("BlockStored", 4): self.blockSize = try reader.readUInt32()
            case ("BlockStored", 6), ("BlockRemoved", 2): self.medium = try Self.readText(&reader)
            case ("BlockStored", 7): self.lora = try Self.readText(&reader)
            default: try reader.skip()
            }
        }
    }

    // MARK: Maps

    mutating func readMap(_ reader: inout MessagePackReader) throws(MessagePackError) {
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readKey() {
            case "type": self.kind = try reader.readString()
            case "block_hashes": self.hashes = try Self.readHashes(&reader)
            case "parent_block_hash": self.parent = try Self.readParent(&reader)
            case "token_ids": self.tokens = try Self.readTokens(&reader)
            case "block_size": self.blockSize = try reader.readUInt32()
            case "medium": self.medium = try Self.readText(&reader)
            case "lora_name": self.lora = try Self.readText(&reader)
            default: try reader.skip()
            }
        }
    }

    // MARK: Values

    private static func readHashes(_ reader: inout MessagePackReader) throws(MessagePackError) -> [UInt64] {
        let count = try reader.readArrayCount()
        var hashes: [UInt64] = []
        hashes.reserveCapacity(count)
        for _ in 0..<count { hashes.append(try Self.readHash(&reader)) }
        return hashes
    }

    private static func readParent(_ reader: inout MessagePackReader) throws(MessagePackError) -> UInt64? {
        try reader.readNil() ? nil : Self.readHash(&reader)
    }

    /// Reads a hash of 64 bits, with or without a sign.
    ///
    /// Longer ones, which are binary, identify nothing on Dynamo's plane.
    private static func readHash(_ reader: inout MessagePackReader) throws(MessagePackError) -> UInt64 {
        guard try reader.kind != .binary else {
            throw MessagePackError(
                "a block hash of bytes; let the engine send 64-bit ones (vLLM: VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES=1)",
                at: reader.offset
            )
        }
        do throws(MessagePackError) {
            return try reader.readUInt64()
        } catch {
            return UInt64(bitPattern: try reader.readInt64())
        }
    }

    private static func readTokens(_ reader: inout MessagePackReader) throws(MessagePackError) -> [UInt32] {
        let count = try reader.readArrayCount()
        var tokens: [UInt32] = []
        tokens.reserveCapacity(count)
        for _ in 0..<count { tokens.append(try reader.readUInt32()) }
        return tokens
    }

    /// Reads a text; what else stands in its place, as the mocker's 0, counts as none.
    private static func readText(_ reader: inout MessagePackReader) throws(MessagePackError) -> String? {
        guard try reader.kind == .string else {
            try reader.skip()
            return nil
        }
        return try reader.readString()
    }
}
