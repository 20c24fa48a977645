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
        for event in events { self.writeMessagePack(upTo: event.estimatedSize) { $0.write(event, form: form) } }
    }
}

extension MessagePackCursor {
    fileprivate mutating func write(_ event: RouterEvent, form: DynamoEventForm) {
        self.write(mapCount: form == .release16 ? 4 : 3)
        self.write(key: "worker_id")
        self.write(event.worker)
        self.write(key: "storage_tier")
        self.write(event.tier.rawValue)
        if form == .release16 {
            self.write(key: "residency_domain")
            self.write(key: "worker")
        }
        self.write(key: "event")
        self.write(mapCount: 3)
        self.write(key: "event_id")
        self.write(event.event.id)
        self.write(key: "data")
        self.write(event.event.change)
        self.write(key: "dp_rank")
        self.write(UInt64(event.event.rank))
    }

    private mutating func write(_ change: KVEvent.Change) {
        switch change {
        case .stored(let parent, let blocks):
            self.write(mapCount: 1)
            self.write(key: "stored")
            self.write(mapCount: 3)
            self.write(key: "parent_hash")
            self.write(parent?.rawValue)
            self.write(key: "start_position")
            self.writeNil()
            self.write(key: "blocks")
            self.write(arrayCount: blocks.count)
            for block in blocks {
                self.write(mapCount: 3)
                self.write(key: "block_hash")
                self.write(block.block.rawValue)
                self.write(key: "tokens_hash")
                self.write(block.tokens.rawValue)
                self.write(key: "mm_extra_info")
                self.writeNil()
            }
        case .removed(let blocks):
            self.write(mapCount: 1)
            self.write(key: "removed")
            self.write(mapCount: 1)
            self.write(key: "block_hashes")
            self.write(arrayCount: blocks.count)
            for block in blocks { self.write(block.rawValue) }
        case .cleared:
            self.write(key: "cleared")
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
            switch try reader.readKey() {
            case "worker_id": worker = try reader.readUInt64()
            case "storage_tier":
                guard try !reader.readNil() else { continue }
                tier = try Self.tier(try reader.readKey(), at: reader.offset)
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

extension RouterEvent {
    private static func tier(_ name: MessagePackKey, at offset: Int) throws(MessagePackError) -> StorageTier {
        switch name {
        case "device": .device
        case "host_pinned": .hostPinned
        case "disk": .disk
        case "external": .external
        default: throw MessagePackError("unknown `storage_tier` \(name.text)", at: offset)
        }
    }
}

extension KVEvent {
    fileprivate init(_ reader: inout MessagePackReader) throws(MessagePackError) {
        var id: UInt64?
        var rank: UInt32 = 0
        var change: Change?
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readKey() {
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
            let name = try reader.readKey()
            guard "cleared" ~= name else { throw MessagePackError("unknown change \(name.text)", at: reader.offset) }
            self = .cleared
            return
        }
        guard try reader.readMapCount() == 1 else {
            throw MessagePackError("`data` must have one member", at: reader.offset)
        }
        switch try reader.readKey() {
        case "stored": self = try Self.readStored(&reader)
        case "removed": self = try Self.readRemoved(&reader)
        case "cleared":
            try reader.skip()
            self = .cleared
        case let name: throw MessagePackError("unknown change \(name.text)", at: reader.offset)
        }
    }

    private static func readStored(_ reader: inout MessagePackReader) throws(MessagePackError) -> Self {
        var parent: BlockHash?
        var blocks: [StoredBlock]?
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readKey() {
            case "parent_hash": parent = try reader.readNil() ? nil : BlockHash(rawValue: try reader.readUInt64())
            case "blocks":
                let count = try reader.readArrayCount()
                var list: [StoredBlock] = []
                // A block takes 26 bytes at least: hostile counts reserve no more than they bring.
                list.reserveCapacity(min(count, reader.left / 26 + 1))
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
            switch try reader.readKey() {
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
            switch try reader.readKey() {
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
