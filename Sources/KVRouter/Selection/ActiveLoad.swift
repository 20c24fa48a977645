import DequeModule

/// What runs where, as far as a router knows: its own requests, and those that other routers tell of.
///
/// A value without clock: who calls it gives the time.
package struct ActiveLoad: Sendable {
    /// How long a request of another router is believed in without a word about its end.
    package static let staleAfter: Duration = .seconds(300)

    /// What another router claims must not make sums overflow.
    private static let mostPrefillTokens = 1 << 40

    private struct Request: Sendable {
        var worker: WorkerRank
        var blocks: [BlockHash]
        var prefillTokens: Int
        /// The router that tells of it; nil for our own.
        var router: UInt64?
        var since: ContinuousClock.Instant
    }

    private struct Rank: Sendable {
        var blocks = BlockUse()
        var prefillTokens = 0
        var requests = 0
    }

    private struct Deadline: Sendable {
        var request: String
        var since: ContinuousClock.Instant
    }

    private let staleAfter: Duration
    private var requests: [String: Request] = [:]
    private var ranks: [WorkerRank: Rank] = [:]
    /// Requests of other routers, the oldest first.
    private var foreign: Deque<Deadline> = []
    private var made: UInt64

    /// Starts with nothing.
    ///
    /// - Parameters:
    ///   - routerID: this router's; its events are ours, and blocks that are made up for the count differ between routers by it.
    ///   - staleAfter: how long a request of another router is believed in.
    package init(routerID: UInt64 = 0, staleAfter: Duration = Self.staleAfter) {
        self.routerID = routerID
        self.staleAfter = staleAfter
        self.made = routerID
    }

    /// This router's id among its replicas.
    package let routerID: UInt64

    // MARK: Our requests

    /// A request goes to a worker; one with the same id that was there before is forgotten.
    ///
    /// - Parameters:
    ///   - id: the request's.
    ///   - worker: who gets it.
    ///   - blocks: chained hashes of its prompt's full blocks; empty when blocks are not tracked.
    ///   - prefillTokens: tokens of the prompt that the worker must process.
    ///   - now: the time.
    package mutating func add(
        _ id: String,
        to worker: WorkerRank,
        blocks: [BlockHash],
        prefillTokens: Int,
        now: ContinuousClock.Instant
    ) {
        self.insert(id, Request(worker: worker, blocks: blocks, prefillTokens: max(0, prefillTokens), since: now))
    }

    /// The first token has come: the prompt is processed.
    package mutating func markPrefillCompleted(_ id: String) {
        guard let request = self.requests[id], request.prefillTokens > 0 else { return }
        self.ranks[request.worker]?.prefillTokens -= request.prefillTokens
        self.requests[id]?.prefillTokens = 0
    }

    /// A block's worth of tokens has been generated.
    ///
    /// - Parameters:
    ///   - id: the request's.
    ///   - progress: how much of the expected output is there, from 0 to 1: blocks that only this request holds count that much less;
    ///     nil when nothing is expected.
    package mutating func addOutputBlock(_ id: String, progress: Double? = nil) {
        guard let worker = self.requests[id]?.worker else { return }
        let block = self.makeBlock()
        self.requests[id]?.blocks.append(block)
        self.ranks[worker]?.blocks.hold(block)
        guard let progress, let blocks = self.requests[id]?.blocks else { return }
        let weight = 1 - min(1, max(0, progress))
        for block in blocks { self.ranks[worker]?.blocks.weigh(block, as: weight) }
    }

    /// The request has ended, in whatever way.
    package mutating func free(_ id: String) {
        guard let request = self.requests.removeValue(forKey: id), var rank = self.ranks[request.worker] else { return }
        // Taken out while it changes, so that it is not copied.
        self.ranks[request.worker] = nil
        for block in request.blocks { rank.blocks.release(block) }
        rank.prefillTokens -= request.prefillTokens
        rank.requests -= 1
        if rank.requests > 0 { self.ranks[request.worker] = rank }
    }

    /// Hashes that no other sequence has: for routers that do not assume that workers reuse blocks.
    package mutating func makeBlocks(_ count: Int) -> [BlockHash] { (0..<count).map { _ in self.makeBlock() } }

    // MARK: What others tell

    /// Takes an event of another router; one of our own is ignored, and so is one about a request of ours, except that its prompt is
    /// processed.
    package mutating func apply(_ event: ActiveSequenceEvent, now: ContinuousClock.Instant) {
        guard event.router != self.routerID else { return }
        switch event.change {
        case .added(let added):
            guard self.isForeign(event.requestID) else { return }
            let hint = Int(clamping: added.prefillTokens ?? 0)
            let request = Request(
                worker: event.worker,
                blocks: added.blocks,
                prefillTokens: added.tracksPrefill ? min(max(0, hint), Self.mostPrefillTokens) : 0,
                router: event.router,
                since: now
            )
            self.insert(event.requestID, request)
            self.foreign.append(Deadline(request: event.requestID, since: now))
        case .prefillCompleted: self.markPrefillCompleted(event.requestID)
        case .freed: if self.isForeign(event.requestID) { self.free(event.requestID) }
        }
    }

    /// Forgets requests of other routers that are too old to be true.
    ///
    /// - Returns: their ids.
    package mutating func expire(now: ContinuousClock.Instant) -> [String] {
        var expired: [String] = []
        while let oldest = self.foreign.first, oldest.since + self.staleAfter <= now {
            self.foreign.removeFirst()
            // It may have ended, and begun anew, since.
            guard let request = self.requests[oldest.request], request.router != nil, request.since == oldest.since
            else {
                continue
            }
            self.free(oldest.request)
            expired.append(oldest.request)
        }
        return expired
    }

    /// A worker has left: nothing runs there any more.
    package mutating func remove(worker: UInt64) {
        for (id, request) in self.requests where request.worker.worker == worker { self.requests[id] = nil }
        for rank in self.ranks.keys where rank.worker == worker { self.ranks[rank] = nil }
    }

    // MARK: Questions

    /// Distinct blocks in use; blocks near their end count in part.
    package func blocks(of worker: WorkerRank) -> Double { self.ranks[worker]?.blocks.total ?? 0 }

    /// Distinct blocks in use if these came too.
    package func blocks(of worker: WorkerRank, adding blocks: [BlockHash]) -> Double {
        guard let rank = self.ranks[worker] else { return Double(blocks.count) }
        return rank.blocks.total + Double(blocks.count - rank.blocks.shared(with: blocks))
    }

    /// Tokens of prompts that are still to be processed.
    package func prefillTokens(of worker: WorkerRank) -> Int { self.ranks[worker]?.prefillTokens ?? 0 }

    /// Requests that run there.
    package func requests(of worker: WorkerRank) -> Int { self.ranks[worker]?.requests ?? 0 }

    /// Requests that run anywhere.
    package var requestCount: Int { self.requests.count }

    // MARK: -

    private mutating func insert(_ id: String, _ request: Request) {
        self.free(id)
        self.requests[id] = request
        var rank = self.ranks.removeValue(forKey: request.worker) ?? Rank()
        for block in request.blocks { rank.blocks.hold(block) }
        rank.prefillTokens += request.prefillTokens
        rank.requests += 1
        self.ranks[request.worker] = rank
    }

    private func isForeign(_ id: String) -> Bool { self.requests[id].map { $0.router != nil } ?? true }

    /// Steps of a Weyl sequence, mixed: never twice the same from one router.
    private mutating func makeBlock() -> BlockHash {
        self.made &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.made
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return BlockHash(rawValue: mixed ^ (mixed >> 31))
    }
}
