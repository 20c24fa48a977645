package import Discovery
package import KVRouter
package import RequestPlane

/// The workers of one endpoint, as discovery has them.
package struct RouterWorkers: Hashable, Sendable {
    package var instances: [UInt64: Instance] = [:]
    package var candidates: [Candidate] = []
    /// The block sizes that model cards name, by worker.
    package var blockSizes: [UInt64: Int] = [:]

    package init() {}

    /// Finds the workers.
    ///
    /// - Parameters:
    ///   - endpoint: the one that requests are sent to.
    ///   - snapshot: a state of discovery.
    package init(of endpoint: EndpointID, in snapshot: DiscoverySnapshot) {
        var cards: [UInt64: ModelCard] = [:]
        // Cards with a suffix are of adapters; what the worker can do stands on its own.
        for model in snapshot.models where model.endpoint == endpoint && model.suffix == nil {
            cards[model.id.rawValue] = model.card
        }
        for record in snapshot.instances where record.instance.endpoint == endpoint {
            let worker = record.instance.id.rawValue
            self.instances[worker] = record.instance
            let card = cards[worker]
            self.blockSizes[worker] = card?.kvCacheBlockSize
            let runtime = card?.fields["runtime_config"]
            let first = runtime?["data_parallel_start_rank"]?.uint64.flatMap(UInt32.init(exactly:)) ?? 0
            // A card must not make a router busy with a billion ranks.
            let ranks = min(max(runtime?["data_parallel_size"]?.int ?? 1, 1), 4096)
            for offset in 0..<UInt32(ranks) {
                self.candidates.append(
                    Candidate(
                        WorkerRank(worker: worker, rank: first &+ offset),
                        totalBlocks: runtime?["total_kv_blocks"]?.int,
                        maxBatchedTokens: runtime?["max_num_batched_tokens"]?.int
                    )
                )
            }
        }
    }
}
