package import KVRouter
package import NIOCore

// The payload of the topic `kv-events` (contract `kv-events.md`, section 2).

extension ByteBuffer {
    /// Writes events as the payload of one message.
    ///
    /// - Parameters:
    ///   - events: on 1.2 exactly one.
    ///   - form: the release of those who read it.
    package mutating func writeRouterEvents(_ events: some Collection<RouterEvent>, form: DynamoEventForm) {
        switch form {
        case .release12: precondition(events.count == 1, "a message for Dynamo 1.2 carries one event")
        case .release16: self.writeMessagePack(arrayCount: events.count)
        }
        for event in events { self.writeRouterEvent(event, form: form) }
    }

    private mutating func writeRouterEvent(_ event: RouterEvent, form: DynamoEventForm) {
        self.writeMessagePack(mapCount: form == .release16 ? 4 : 3)
        self.writeMessagePack(key: "worker_id")
        self.writeMessagePack(event.worker)
        self.writeMessagePack(key: "storage_tier")
        self.writeMessagePack(event.tier.rawValue)
        if form == .release16 {
            self.writeMessagePack(key: "residency_domain")
            self.writeMessagePack(key: "worker")
        }
        self.writeMessagePack(key: "event")
        self.writeMessagePack(mapCount: 3)
        self.writeMessagePack(key: "event_id")
        self.writeMessagePack(event.event.id)
        self.writeMessagePack(key: "data")
        self.writeChange(event.event.change)
        self.writeMessagePack(key: "dp_rank")
        self.writeMessagePack(UInt64(event.event.rank))
    }

    private mutating func writeChange(_ change: KVEvent.Change) {
        switch change {
        case .stored(let parent, let blocks):
            self.writeMessagePack(mapCount: 1)
            self.writeMessagePack(key: "stored")
            self.writeMessagePack(mapCount: 3)
            self.writeMessagePack(key: "parent_hash")
            self.writeMessagePack(parent?.rawValue)
            self.writeMessagePack(key: "start_position")
            self.writeMessagePackNil()
            self.writeMessagePack(key: "blocks")
            self.writeMessagePack(arrayCount: blocks.count)
            for block in blocks {
                self.writeMessagePack(mapCount: 3)
                self.writeMessagePack(key: "block_hash")
                self.writeMessagePack(block.block.rawValue)
                self.writeMessagePack(key: "tokens_hash")
                self.writeMessagePack(block.tokens.rawValue)
                self.writeMessagePack(key: "mm_extra_info")
                self.writeMessagePackNil()
            }
        case .removed(let blocks):
            self.writeMessagePack(mapCount: 1)
            self.writeMessagePack(key: "removed")
            self.writeMessagePack(mapCount: 1)
            self.writeMessagePack(key: "block_hashes")
            self.writeMessagePack(arrayCount: blocks.count)
            for block in blocks { self.writeMessagePack(block.rawValue) }
        case .cleared:
            self.writeMessagePack(key: "cleared")
        }
    }
}

extension RouterEvent {
    /// Reads the payload of one message of either form.
    ///
    /// - Parameter bytes: MessagePack of one event, or of an array of them.
    /// - Returns: the events in their order.
    /// - Throws: `MessagePackError` when a field is missing or wrong; numbers below zero are wrong everywhere.
    package static func read(_ bytes: ByteBuffer) throws(MessagePackError) -> [RouterEvent] {
        var reader = MessagePackReader(bytes)
        var events: [RouterEvent] = []
        if try reader.kind == .array {
            for _ in 0..<(try reader.readArrayCount()) { events.append(try RouterEvent(&reader)) }
        } else {
            events.append(try RouterEvent(&reader))
        }
        try reader.finish()
        return events
    }

    private init(_ reader: inout MessagePackReader) throws(MessagePackError) {
        var worker: UInt64?
        var tier = StorageTier.device
        var event: KVEvent?
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readString() {
            case "worker_id": worker = try reader.readUInt64()
            case "storage_tier":
                guard try !reader.readNil() else { continue }
                let name = try reader.readString()
                guard let known = StorageTier(rawValue: name) else {
                    throw MessagePackError("unknown `storage_tier` \(name)", at: reader.offset)
                }
                tier = known
            case "event": event = try KVEvent(&reader)
            default: try reader.skip()
            }
        }
        self.init(
            worker: try reader.require(worker, "worker_id"),
            tier: tier,
            event: try reader.require(event, "event")
        )
    }
}

extension KVEvent {
    fileprivate init(_ reader: inout MessagePackReader) throws(MessagePackError) {
        var id: UInt64?
        var rank: UInt32 = 0
        var change: Change?
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readString() {
            case "event_id": id = try reader.readUInt64()
            case "dp_rank": rank = try reader.readNil() ? 0 : try reader.readUInt32()
            case "data": change = try Change(&reader)
            default: try reader.skip()
            }
        }
        self.init(id: try reader.require(id, "event_id"), rank: rank, change: try reader.require(change, "data"))
    }
}

extension KVEvent.Change {
    fileprivate init(_ reader: inout MessagePackReader) throws(MessagePackError) {
        if try reader.kind == .string {
            let name = try reader.readString()
            guard name == "cleared" else { throw MessagePackError("unknown change \(name)", at: reader.offset) }
            self = .cleared
            return
        }
        guard try reader.readMapCount() == 1 else {
            throw MessagePackError("`data` must have one member", at: reader.offset)
        }
        switch try reader.readString() {
        case "stored": self = try Self.readStored(&reader)
        case "removed": self = try Self.readRemoved(&reader)
        case "cleared":
            try reader.skip()
            self = .cleared
        case let name: throw MessagePackError("unknown change \(name)", at: reader.offset)
        }
    }

    private static func readStored(_ reader: inout MessagePackReader) throws(MessagePackError) -> Self {
        var parent: BlockHash?
        var blocks: [StoredBlock]?
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readString() {
            case "parent_hash": parent = try reader.readNil() ? nil : BlockHash(rawValue: try reader.readUInt64())
            case "blocks":
                let count = try reader.readArrayCount()
                var list: [StoredBlock] = []
                for _ in 0..<count { list.append(try StoredBlock(&reader)) }
                blocks = list
            default: try reader.skip()
            }
        }
        return .stored(parent: parent, blocks: try reader.require(blocks, "blocks"))
    }

    private static func readRemoved(_ reader: inout MessagePackReader) throws(MessagePackError) -> Self {
        var blocks: [BlockHash]?
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readString() {
            case "block_hashes":
                var list: [BlockHash] = []
                for _ in 0..<(try reader.readArrayCount()) { list.append(BlockHash(rawValue: try reader.readUInt64())) }
                blocks = list
            default: try reader.skip()
            }
        }
        return .removed(try reader.require(blocks, "block_hashes"))
    }
}

extension StoredBlock {
    fileprivate init(_ reader: inout MessagePackReader) throws(MessagePackError) {
        var block: UInt64?
        var tokens: UInt64?
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readString() {
            case "block_hash": block = try reader.readUInt64()
            case "tokens_hash": tokens = try reader.readUInt64()
            default: try reader.skip()
            }
        }
        self.init(
            block: BlockHash(rawValue: try reader.require(block, "block_hash")),
            tokens: TokensHash(rawValue: try reader.require(tokens, "tokens_hash"))
        )
    }
}
