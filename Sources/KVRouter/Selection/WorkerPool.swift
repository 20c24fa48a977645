/// The part of the work that a worker does.
package enum PoolRole: String, Hashable, Sendable, CaseIterable {
    /// All of it.
    case aggregated
    /// Prompts, whose blocks go on to a decode worker.
    case prefill
    /// Tokens after the first.
    case decode
}

/// A worker's rank that could take a request, and how much it can do.
package struct Candidate: Hashable, Sendable {
    package var worker: WorkerRank
    /// Blocks of its cache (`runtime_config.total_kv_blocks` of the card); nil when it does not say.
    package var totalBlocks: Int?
    /// Tokens of a step (`runtime_config.max_num_batched_tokens` of the card); nil when it does not say.
    package var maxBatchedTokens: Int?

    package init(_ worker: WorkerRank, totalBlocks: Int? = nil, maxBatchedTokens: Int? = nil) {
        self.worker = worker
        self.totalBlocks = totalBlocks
        self.maxBatchedTokens = maxBatchedTokens
    }
}

/// When a worker is too busy for more; nil: never for this reason.
package struct BusyThresholds: Hashable, Sendable {
    /// The share of its cache's blocks above which it is busy.
    package var decodeBlocksFraction: Double? = 1
    /// Prefill tokens above which it is busy.
    package var prefillTokens: Int? = 10_000_000
    /// The same as a multiple of the tokens of its step.
    package var prefillTokensFraction: Double? = 10

    package init() {}

    /// Whether a worker is busy; one reason suffices, and what a worker does not say is none.
    package func isBusy(_ candidate: Candidate, _ load: ActiveLoad) -> Bool {
        if let fraction = self.decodeBlocksFraction, let total = candidate.totalBlocks, total > 0,
            load.blocks(of: candidate.worker) > fraction * Double(total)
        {
            return true
        }
        let tokens = load.prefillTokens(of: candidate.worker)
        if let most = self.prefillTokens, tokens > most { return true }
        if let fraction = self.prefillTokensFraction, let step = candidate.maxBatchedTokens, step > 0 {
            return Double(tokens) > fraction * Double(step)
        }
        return false
    }
}

/// The workers of one part of a deployment, with the load and the turns of that part alone.
///
/// A disaggregated deployment has one for prefill and one for decode; a request is added to each when it goes there.
package struct WorkerPool: Sendable {
    package let role: PoolRole
    package var candidates: [Candidate]
    package var selector: WorkerSelector
    package var load: ActiveLoad

    /// Creates a pool.
    ///
    /// - Parameters:
    ///   - role: what its workers do.
    ///   - candidates: the workers.
    ///   - configuration: of the whole router.
    ///   - routerID: this router's.
    package init(
        role: PoolRole,
        candidates: [Candidate] = [],
        configuration: RouterConfiguration,
        routerID: UInt64 = 0
    ) {
        self.role = role
        self.candidates = candidates
        self.selector = WorkerSelector(configuration: configuration.adapted(to: role))
        self.load = ActiveLoad(routerID: routerID)
    }

    /// Chooses among the pool's workers.
    package mutating func select(
        _ request: SelectionRequest,
        using generator: inout some RandomNumberGenerator
    ) -> Selection {
        self.selector.select(request, among: self.candidates, load: self.load, using: &generator)
    }

    /// Takes the workers that there are now; what ran on those that left is forgotten.
    package mutating func update(_ candidates: [Candidate]) {
        let left = Set(self.candidates.map(\.worker.worker)).subtracting(candidates.map(\.worker.worker))
        for worker in left { self.load.remove(worker: worker) }
        self.candidates = candidates
    }
}

extension RouterConfiguration {
    /// The settings for a part of a disaggregated deployment.
    ///
    /// A prefill worker keeps no blocks of running requests. To a decode worker all blocks are sent, whatever it holds.
    package func adapted(to role: PoolRole) -> RouterConfiguration {
        var adapted = self
        switch role {
        case .aggregated: break
        case .prefill:
            adapted.tracksActiveBlocks = false
            adapted.tracksOutputBlocks = false
        case .decode:
            adapted.cost.overlapCredit = 0
            adapted.cost.hostWeight = 0
            adapted.cost.diskWeight = 0
            adapted.assumesKVReuse = false
            adapted.tracksPrefillTokens = false
        }
        return adapted
    }
}
