import Glibc

/// A request, as far as the choice of its worker depends on it.
package struct SelectionRequest: Hashable, Sendable {
    /// Tokens of the prompt.
    package var promptTokens = 0
    /// Chained hashes of the prompt's full blocks.
    package var blocks: [BlockHash] = []
    /// Which workers hold the beginning of the prompt.
    package var overlaps: [WorkerRank: Overlap] = [:]
    /// Tokens of a block.
    package var blockSize = 16
    /// The worker that the request names.
    package var named: NamedWorker?
    /// What the request wants otherwise than the router is set.
    package var override: RouterOverride?

    package init() {}

    /// A worker that a request names.
    package struct NamedWorker: Hashable, Sendable {
        package var worker: UInt64
        /// Nil: any of its ranks.
        package var rank: UInt32?

        package init(worker: UInt64, rank: UInt32? = nil) {
            self.worker = worker
            self.rank = rank
        }
    }
}

/// What came of choosing a worker.
package enum Selection: Hashable, Sendable {
    case chosen(Choice)
    /// All workers have more prompts to process than the queue threshold allows: choose again when one has ended.
    case wait
    /// All workers are above a busy threshold.
    case allBusy
    case noWorker
    /// The request must name a worker, and does not.
    case unnamed
    /// The worker that the request names is not there.
    case unknownWorker(SelectionRequest.NamedWorker)

    package struct Choice: Hashable, Sendable {
        package var worker: WorkerRank
        /// In blocks; nil where the mode knows no costs.
        package var cost: Double?
        /// What the worker holds of the prompt.
        package var overlap: Overlap
        /// Tokens of the prompt that the worker must process.
        package var prefillTokens: Int
    }
}

/// Chooses workers; holds nothing but whose turn it is.
package struct WorkerSelector: Sendable {
    package let configuration: RouterConfiguration
    private var turn = 0

    package init(configuration: RouterConfiguration) { self.configuration = configuration }

    /// Chooses a worker.
    ///
    /// - Parameters:
    ///   - request: for which.
    ///   - candidates: who could take it.
    ///   - load: what runs where.
    ///   - generator: decides where chance does: between equals too.
    /// - Returns: a worker, or why there is none.
    package mutating func select(
        _ request: SelectionRequest,
        among candidates: [Candidate],
        load: ActiveLoad,
        using generator: inout some RandomNumberGenerator
    ) -> Selection {
        let configuration = self.configuration(of: request)
        if let named = request.named, configuration.mode == .direct || configuration.mode == .kv {
            let ranks = candidates.filter {
                $0.worker.worker == named.worker && (named.rank == nil || named.rank == $0.worker.rank)
            }
            guard !ranks.isEmpty else { return .unknownWorker(named) }
            if configuration.mode == .kv { return self.cheapest(request, ranks, load, &generator) }
            return self.choice(ranks[0].worker, nil, request)
        }
        if configuration.mode == .direct { return .unnamed }
        guard !candidates.isEmpty else { return .noWorker }
        let free = candidates.filter { !configuration.busy.isBusy($0, load) }
        guard !free.isEmpty else { return .allBusy }
        let chosen: Candidate
        switch configuration.mode {
        case .roundRobin:
            chosen = free[self.turn % free.count]
            self.turn = (self.turn + 1) % Int.max
        case .random: chosen = free[.random(in: 0..<free.count, using: &generator)]
        case .powerOfTwo:
            let first = Int.random(in: 0..<free.count, using: &generator)
            guard free.count > 1 else { return self.choice(free[0].worker, nil, request) }
            let second = (first + .random(in: 1..<free.count, using: &generator)) % free.count
            let isSecond = load.requests(of: free[second].worker) < load.requests(of: free[first].worker)
            chosen = free[isSecond ? second : first]
        case .leastLoaded:
            let index = Self.smallest(free.map { Double(load.requests(of: $0.worker)) }, &generator)
            chosen = free[index]
        case .kv:
            guard !self.mustWait(free, load, configuration) else { return .wait }
            return self.cheapest(request, free, load, &generator)
        case .direct: return .unnamed
        }
        return self.choice(chosen.worker, nil, request)
    }

    /// The costs of all candidates, in their order.
    package func costs(_ request: SelectionRequest, _ candidates: [Candidate], _ load: ActiveLoad) -> [Double] {
        let configuration = self.configuration(of: request)
        let least = candidates.map { load.prefillTokens(of: $0.worker) }.min() ?? 0
        return candidates.map { candidate in
            var situation = CostFunction.Situation(promptTokens: request.promptTokens)
            if configuration.tracksPrefillTokens {
                situation.activePrefillTokens = load.prefillTokens(of: candidate.worker)
                situation.leastPrefillTokens = least
            } else {
                situation.promptTokens = 0
            }
            situation.overlap = request.overlaps[candidate.worker] ?? Overlap()
            if configuration.tracksActiveBlocks {
                // Without reuse the prompt's blocks are new wherever it goes.
                situation.decodeBlocks =
                    configuration.assumesKVReuse
                    ? load.blocks(of: candidate.worker, adding: request.blocks)
                    : load.blocks(of: candidate.worker) + Double(request.blocks.count)
            }
            situation.activeRequests = load.requests(of: candidate.worker)
            return configuration.cost.cost(situation, blockSize: request.blockSize)
        }
    }

    /// Counts a request where it goes.
    ///
    /// - Parameters:
    ///   - id: the request's.
    ///   - request: which.
    ///   - choice: where it goes.
    ///   - load: where it is counted.
    ///   - now: the time.
    /// - Returns: what the other routers should be told.
    @discardableResult
    package func commit(
        _ id: String,
        _ request: SelectionRequest,
        _ choice: Selection.Choice,
        to load: inout ActiveLoad,
        now: ContinuousClock.Instant
    ) -> ActiveSequenceEvent {
        let configuration = self.configuration(of: request)
        var blocks: [BlockHash] = []
        if configuration.tracksActiveBlocks {
            blocks =
                configuration.assumesKVReuse ? request.blocks : load.makeBlocks(request.blocks.count)
        }
        let tokens = configuration.tracksPrefillTokens ? choice.prefillTokens : 0
        load.add(id, to: choice.worker, blocks: blocks, prefillTokens: tokens, now: now)
        let added = ActiveSequenceEvent.Added(
            blocks: blocks,
            tracksPrefill: configuration.tracksPrefillTokens,
            prefillTokens: UInt64(clamping: tokens)
        )
        return ActiveSequenceEvent(
            requestID: id,
            worker: choice.worker,
            change: .added(added),
            router: load.routerID
        )
    }

    /// Whether a request would have to wait now, whatever workers hold of it.
    package func mustWait(_ request: SelectionRequest, _ candidates: [Candidate], _ load: ActiveLoad) -> Bool {
        let configuration = self.configuration(of: request)
        guard configuration.mode == .kv, request.named == nil, !candidates.isEmpty else { return false }
        let free = candidates.filter { !configuration.busy.isBusy($0, load) }
        return !free.isEmpty && self.mustWait(free, load, configuration)
    }

    // MARK: -

    private func configuration(of request: SelectionRequest) -> RouterConfiguration {
        request.override?.applied(to: self.configuration) ?? self.configuration
    }

    private func mustWait(
        _ candidates: [Candidate],
        _ load: ActiveLoad,
        _ configuration: RouterConfiguration
    ) -> Bool {
        guard let threshold = configuration.queueThreshold, configuration.tracksPrefillTokens else { return false }
        return candidates.allSatisfy { candidate in
            guard let step = candidate.maxBatchedTokens, step > 0 else { return false }
            return Double(load.prefillTokens(of: candidate.worker)) > threshold * Double(step)
        }
    }

    private func cheapest(
        _ request: SelectionRequest,
        _ candidates: [Candidate],
        _ load: ActiveLoad,
        _ generator: inout some RandomNumberGenerator
    ) -> Selection {
        let costs = self.costs(request, candidates, load)
        let temperature = request.override?.temperature ?? self.configuration.temperature
        let index =
            temperature > 0 ? Self.softmax(costs, temperature, &generator) : Self.smallest(costs, &generator)
        return self.choice(candidates[index].worker, costs[index], request)
    }

    private func choice(_ worker: WorkerRank, _ cost: Double?, _ request: SelectionRequest) -> Selection {
        let overlap = request.overlaps[worker] ?? Overlap()
        let tokens = max(0, request.promptTokens - overlap.device * request.blockSize)
        return .chosen(Selection.Choice(worker: worker, cost: cost, overlap: overlap, prefillTokens: tokens))
    }

    /// The index of the smallest; chance decides between equals.
    private static func smallest(_ costs: [Double], _ generator: inout some RandomNumberGenerator) -> Int {
        var best: [Int] = []
        for (index, cost) in costs.enumerated() {
            if let first = best.first, cost > costs[first] { continue }
            if let first = best.first, cost < costs[first] { best = [] }
            best.append(index)
        }
        return best.count > 1 ? best[.random(in: 0..<best.count, using: &generator)] : best.first ?? 0
    }

    /// An index by chance, the likelier the lower its cost: costs are taken relative to their spread.
    private static func softmax(
        _ costs: [Double],
        _ temperature: Double,
        _ generator: inout some RandomNumberGenerator
    ) -> Int {
        guard let low = costs.min(), let high = costs.max(), high > low else {
            return .random(in: 0..<max(1, costs.count), using: &generator)
        }
        let weights = costs.map { exp(-($0 - low) / (high - low) / temperature) }
        var point = Double.random(in: 0..<weights.reduce(0, +), using: &generator)
        for (index, weight) in weights.enumerated() {
            point -= weight
            if point < 0 { return index }
        }
        return weights.count - 1
    }
}
