package import KVRouter
package import NIOCore

/// How busy a worker is: the payload of the topic `kv_metrics` (contract `kv-events.md`, section 6).
package struct WorkerLoad: Hashable, Sendable {
    package var worker: WorkerRank
    /// Blocks of running requests, as a router counts them.
    package var activeDecodeBlocks: UInt64?
    /// Tokens of prompts that are not computed yet, as a router counts them.
    package var activePrefillTokens: UInt64?
    /// Blocks in the worker's cache, as the worker says; Dynamo 1.0 does not know it.
    package var usedBlocks: UInt64?

    package init(
        worker: WorkerRank,
        activeDecodeBlocks: UInt64? = nil,
        activePrefillTokens: UInt64? = nil,
        usedBlocks: UInt64? = nil
    ) {
        self.worker = worker
        self.activeDecodeBlocks = activeDecodeBlocks
        self.activePrefillTokens = activePrefillTokens
        self.usedBlocks = usedBlocks
    }

    /// Reads a payload.
    ///
    /// - Throws: `MessagePackError` when a field is missing or wrong.
    package init(_ bytes: ByteBuffer) throws(MessagePackError) {
        var reader = MessagePackReader(bytes)
        var load = WorkerLoad(worker: WorkerRank(worker: 0))
        var worker: UInt64?
        for _ in 0..<(try reader.readMapCount()) {
            switch try reader.readKey() {
            case "worker_id": worker = try reader.readUInt64()
            case "dp_rank": load.worker.rank = try reader.readNil() ? 0 : try reader.readUInt32()
            case "active_decode_blocks": load.activeDecodeBlocks = try reader.readOptionalUInt64()
            case "active_prefill_tokens": load.activePrefillTokens = try reader.readOptionalUInt64()
            case "kv_used_blocks": load.usedBlocks = try reader.readOptionalUInt64()
            default: try reader.skip()
            }
        }
        try reader.finish()
        load.worker.worker = try reader.require(worker, "worker_id")
        self = load
    }
}

extension MessagePackReader {
    mutating func readOptionalUInt64() throws(MessagePackError) -> UInt64? {
        try self.readNil() ? nil : try self.readUInt64()
    }
}

extension ByteBuffer {
    package mutating func writeWorkerLoad(_ load: WorkerLoad) {
        self.writeMessagePack(mapCount: 5)
        self.writeMessagePack(key: "worker_id")
        self.writeMessagePack(load.worker.worker)
        self.writeMessagePack(key: "dp_rank")
        self.writeMessagePack(UInt64(load.worker.rank))
        self.writeMessagePack(key: "active_decode_blocks")
        self.writeMessagePack(load.activeDecodeBlocks)
        self.writeMessagePack(key: "active_prefill_tokens")
        self.writeMessagePack(load.activePrefillTokens)
        self.writeMessagePack(key: "kv_used_blocks")
        self.writeMessagePack(load.usedBlocks)
    }
}
