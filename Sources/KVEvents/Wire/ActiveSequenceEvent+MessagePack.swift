package import KVRouter
package import NIOCore

extension ActiveSequenceEvent {
    /// Reads a payload: one event, or what 1.6 sends over ZMQ, `{"events": [...]}`.
    ///
    /// - Parameter bytes: MessagePack.
    /// - Returns: the events in their order.
    /// - Throws: `MessagePackError` when a field is missing or wrong.
    package static func read(_ bytes: ByteBuffer) throws(MessagePackError) -> [ActiveSequenceEvent] {
        var reader = MessagePackReader(bytes)
        var list = reader
        if try list.readMapCount() == 1, try list.readString() == "events" {
            var events: [ActiveSequenceEvent] = []
            for _ in 0..<(try list.readArrayCount()) { events.append(try ActiveSequenceEvent(&list)) }
            try list.finish()
            return events
        }
        let event = try ActiveSequenceEvent(&reader)
        try reader.finish()
        return [event]
    }

    private init(_ reader: inout MessagePackReader) throws(MessagePackError) {
        var requestID: String?
        var worker: WorkerRank?
        var change: Change?
        var router: UInt64?
        var lora: String?
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readKey() {
            case "request_id": requestID = try reader.readString()
            case "worker": worker = try Self.readWorker(&reader)
            case "data": change = try Change(&reader)
            case "router_id": router = try reader.readUInt64()
            case "lora_name": lora = try reader.readNil() ? nil : try reader.readString()
            default: try reader.skip()
            }
        }
        self.init(
            requestID: try reader.require(requestID, "request_id"),
            worker: try reader.require(worker, "worker"),
            change: try reader.require(change, "data"),
            router: try reader.require(router, "router_id"),
            lora: lora
        )
    }

    private static func readWorker(_ reader: inout MessagePackReader) throws(MessagePackError) -> WorkerRank {
        var worker: UInt64?
        var rank: UInt32 = 0
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readKey() {
            case "worker_id": worker = try reader.readUInt64()
            case "dp_rank": rank = try reader.readNil() ? 0 : try reader.readUInt32()
            default: try reader.skip()
            }
        }
        return WorkerRank(worker: try reader.require(worker, "worker.worker_id"), rank: rank)
    }
}

extension ActiveSequenceEvent.Change {
    fileprivate init(_ reader: inout MessagePackReader) throws(MessagePackError) {
        if try reader.kind == .string {
            switch try reader.readKey() {
            case "MarkPrefillCompleted": self = .prefillCompleted
            case "Free": self = .freed
            case let name: throw MessagePackError("unknown `data` \(name.text)", at: reader.offset)
            }
            return
        }
        guard try reader.readMapCount() == 1, try reader.readString() == "AddRequest" else {
            throw MessagePackError("`data` must be AddRequest, MarkPrefillCompleted or Free", at: reader.offset)
        }
        var added = ActiveSequenceEvent.Added(blocks: [])
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readKey() {
            case "token_sequence":
                if try reader.readNil() { continue }
                for _ in 0..<(try reader.readArrayCount()) {
                    added.blocks.append(BlockHash(rawValue: try reader.readUInt64()))
                }
            case "track_prefill_tokens": added.tracksPrefill = try reader.readBool()
            case "expected_output_tokens": added.expectedOutputTokens = try reader.readOptionalUInt64()
            case "prefill_load_hint": added.prefillTokens = try Self.readHint(&reader)
            default: try reader.skip()
            }
        }
        self = .added(added)
    }

    private static func readHint(_ reader: inout MessagePackReader) throws(MessagePackError) -> UInt64? {
        if try reader.readNil() { return nil }
        var tokens: UInt64?
        for _ in 0..<(try reader.readMapCount()) {
            if try reader.readString() == "initial_effective_prefill_tokens" {
                tokens = try reader.readUInt64()
            } else {
                try reader.skip()
            }
        }
        return tokens
    }
}

extension ByteBuffer {
    /// Several in one message, as 1.6 has them on ZeroMQ.
    package mutating func writeActiveSequenceEvents(_ events: some Collection<ActiveSequenceEvent>) {
        self.writeMessagePack(mapCount: 1)
        self.writeMessagePack(key: "events")
        self.writeMessagePack(arrayCount: events.count)
        for event in events { self.writeActiveSequenceEvent(event) }
    }

    package mutating func writeActiveSequenceEvent(_ event: ActiveSequenceEvent) {
        self.writeMessagePack(mapCount: 5)
        self.writeMessagePack(key: "request_id")
        self.writeMessagePack(event.requestID)
        self.writeMessagePack(key: "worker")
        self.writeMessagePack(mapCount: 2)
        self.writeMessagePack(key: "worker_id")
        self.writeMessagePack(event.worker.worker)
        self.writeMessagePack(key: "dp_rank")
        self.writeMessagePack(UInt64(event.worker.rank))
        self.writeMessagePack(key: "data")
        switch event.change {
        case .added(let added): self.writeAdded(added)
        case .prefillCompleted: self.writeMessagePack(key: "MarkPrefillCompleted")
        case .freed: self.writeMessagePack(key: "Free")
        }
        self.writeMessagePack(key: "router_id")
        self.writeMessagePack(event.router)
        self.writeMessagePack(key: "lora_name")
        if let lora = event.lora { self.writeMessagePack(lora) } else { self.writeMessagePackNil() }
    }

    private mutating func writeAdded(_ added: ActiveSequenceEvent.Added) {
        self.writeMessagePack(mapCount: 1)
        self.writeMessagePack(key: "AddRequest")
        self.writeMessagePack(mapCount: 4)
        self.writeMessagePack(key: "token_sequence")
        self.writeMessagePack(arrayCount: added.blocks.count)
        for block in added.blocks { self.writeMessagePack(block.rawValue) }
        self.writeMessagePack(key: "track_prefill_tokens")
        self.writeMessagePack(added.tracksPrefill)
        self.writeMessagePack(key: "expected_output_tokens")
        self.writeMessagePack(added.expectedOutputTokens)
        self.writeMessagePack(key: "prefill_load_hint")
        guard let tokens = added.prefillTokens else { return self.writeMessagePackNil() }
        self.writeMessagePack(mapCount: 2)
        // 32 bytes: too long for a key in the shortest form.
        self.writeMessagePack("initial_effective_prefill_tokens")
        self.writeMessagePack(tokens)
        self.writeMessagePack(key: "expected_prefill_duration")
        self.writeMessagePackNil()
    }
}
