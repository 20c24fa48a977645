package import KVEvents
package import KVRouter

/// Which request goes to which worker, which one waits, and what the other routers should hear of it.
///
/// A value without I/O and clock: who calls it gives the time, and performs the actions.
///
///     submit --> running --answered--> decoding --ended--> gone
///          \--> waiting --(room)--^          (ended from every state)
package struct RouterMachine: Sendable {
    package enum Action: Hashable, Sendable {
        /// The request goes to this worker.
        case send(String, Selection.Choice)
        /// There is no worker for it; the reason is never `chosen` or `wait`.
        case refuse(String, Selection)
        /// Other routers should know; only with replica sync.
        case tell(ActiveSequenceEvent)
        /// What runs on a worker has changed by a request of this router.
        case load(WorkerLoad)
    }

    private struct Pending: Sendable {
        var request: SelectionRequest
        var hashes: [TokensHash]
        var excluded: Set<UInt64>
    }

    private struct Running: Sendable {
        var worker: WorkerRank
        var hasAnswered = false
        /// Tokens since the last full block of output.
        var tail: Int
        var blockSize: Int
    }

    private let configuration: RouterConfiguration
    private let overlaps: (any OverlapSource)?
    private let reportsLoad: Bool
    private var selector: WorkerSelector
    /// Answers at once where the other lets a request wait.
    private var adviser: WorkerSelector
    private var load: ActiveLoad
    private var prediction: BlockPrediction
    private var queue: SelectionQueue
    private var candidates: [Candidate] = []
    private var pending: [String: Pending] = [:]
    private var running: [String: Running] = [:]

    /// Starts without workers.
    ///
    /// - Parameters:
    ///   - configuration: how workers are chosen.
    ///   - routerID: this router's among its replicas.
    ///   - overlaps: what workers hold when a request has waited; nil: what they held when it came.
    ///   - reportsLoad: whether anybody wants to know what runs on the workers.
    package init(
        _ configuration: RouterConfiguration,
        routerID: UInt64,
        overlaps: (any OverlapSource)? = nil,
        reportsLoad: Bool = false
    ) {
        self.configuration = configuration
        self.overlaps = overlaps
        self.reportsLoad = reportsLoad
        self.selector = WorkerSelector(configuration: configuration)
        var patient = configuration
        patient.queueThreshold = nil
        self.adviser = WorkerSelector(configuration: patient)
        self.load = ActiveLoad(routerID: routerID)
        self.prediction = BlockPrediction(lifetime: configuration.predictionLifetime)
        self.queue = SelectionQueue(policy: configuration.queuePolicy)
    }

    // MARK: Workers

    /// Takes the workers that there are now; what ran on those that left counts no more.
    ///
    /// Their answers may go on: a worker that stops leaves discovery first.
    package mutating func update(
        _ candidates: [Candidate],
        now: ContinuousClock.Instant,
        using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        let left = Set(self.candidates.map(\.worker.worker)).subtracting(candidates.map(\.worker.worker))
        for worker in left {
            self.load.remove(worker: worker)
            self.prediction.remove(worker: worker)
        }
        self.candidates = candidates
        return self.admit(now: now, using: &generator)
    }

    // MARK: Requests

    /// A request has come.
    ///
    /// - Parameters:
    ///   - id: the request's, which no other running or waiting request has.
    ///   - request: what the choice depends on; without KV events its overlaps are predicted here.
    ///   - hashes: of the prompt's blocks, to look its overlaps up again if it has to wait.
    ///   - excluded: workers that have refused it.
    ///   - now: the time.
    ///   - generator: decides between equals.
    /// - Returns: nothing when it has to wait.
    package mutating func submit(
        _ id: String,
        _ request: SelectionRequest,
        hashes: [TokensHash] = [],
        excluding excluded: Set<UInt64> = [],
        now: ContinuousClock.Instant,
        using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        let pending = Pending(request: request, hashes: hashes, excluded: excluded)
        // Those that wait come first, unless it says where it wants to go.
        if request.named == nil, self.queue.count > 0 {
            self.wait(id, pending)
            return []
        }
        guard let actions = self.place(id, pending, now: now, using: &generator) else {
            self.wait(id, pending)
            return []
        }
        return actions
    }

    /// The first token of an answer has come.
    package mutating func answered(
        _ id: String,
        now: ContinuousClock.Instant,
        using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        guard let running = self.running[id], !running.hasAnswered else { return [] }
        self.running[id]?.hasAnswered = true
        self.load.markPrefillCompleted(id)
        return self.load(of: running.worker) + self.tell(id, running, .prefillCompleted)
            + self.admit(now: now, using: &generator)
    }

    /// Tokens of an answer have come.
    package mutating func produced(_ tokens: Int, for id: String) {
        guard self.configuration.tracksOutputBlocks, var running = self.running[id] else { return }
        running.tail += tokens
        while running.tail >= running.blockSize {
            running.tail -= running.blockSize
            self.load.addOutputBlock(id)
        }
        self.running[id] = running
    }

    /// A request has ended in whatever way, also one that waits.
    package mutating func ended(
        _ id: String,
        now: ContinuousClock.Instant,
        using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        if self.pending.removeValue(forKey: id) != nil { self.queue.remove(id) }
        guard let running = self.running.removeValue(forKey: id) else { return [] }
        self.load.free(id)
        return self.load(of: running.worker) + self.tell(id, running, .freed) + self.admit(now: now, using: &generator)
    }

    /// Where a request would go now; nothing is counted.
    package mutating func best(
        _ request: SelectionRequest,
        now: ContinuousClock.Instant,
        using generator: inout some RandomNumberGenerator
    ) -> Selection {
        var request = request
        self.predict(&request, now: now)
        return self.adviser.select(request, among: self.candidates, load: self.load, using: &generator)
    }

    /// What each worker is believed to hold of a prompt, for routers without KV events.
    package mutating func predicted(
        _ blocks: [BlockHash],
        now: ContinuousClock.Instant
    ) -> [WorkerRank: Overlap] { self.prediction.overlaps(blocks, now: now) }

    /// Whether a request of that id runs or waits.
    package func knows(_ id: String) -> Bool { self.running[id] != nil || self.pending[id] != nil }

    // MARK: Other routers

    /// Takes what another router tells.
    package mutating func apply(
        _ event: ActiveSequenceEvent,
        now: ContinuousClock.Instant,
        using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        self.load.apply(event, now: now)
        return self.admit(now: now, using: &generator)
    }

    /// Forgets requests of other routers of which nothing was heard for too long.
    package mutating func expire(
        now: ContinuousClock.Instant,
        using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        self.load.expire(now: now).isEmpty ? [] : self.admit(now: now, using: &generator)
    }

    // MARK: Questions

    package struct Counts: Hashable, Sendable {
        package var workers: Int
        package var running: Int
        package var waiting: Int
        /// Requests that count as load, those of other routers included.
        package var counted: Int
    }

    package var counts: Counts {
        Counts(
            workers: Set(self.candidates.map(\.worker.worker)).count,
            running: self.running.count,
            waiting: self.queue.count,
            counted: self.load.requestCount
        )
    }

    /// Whether there is a worker that is none of these.
    package func hasWorker(besides others: Set<UInt64>) -> Bool {
        self.candidates.contains { !others.contains($0.worker.worker) }
    }

    /// Distinct blocks in use on a rank.
    package func blocks(of worker: WorkerRank) -> Double { self.load.blocks(of: worker) }

    /// Tokens of prompts that a rank has still to process.
    package func prefillTokens(of worker: WorkerRank) -> Int { self.load.prefillTokens(of: worker) }

    // MARK: -

    private mutating func wait(_ id: String, _ pending: Pending) {
        self.pending[id] = pending
        self.queue.append(id, prefillTokens: pending.request.promptTokens)
    }

    /// Lets requests go that have waited, in their order.
    private mutating func admit(
        now: ContinuousClock.Instant,
        using generator: inout some RandomNumberGenerator
    ) -> [Action] {
        var actions: [Action] = []
        while let id = self.queue.peek(), var pending = self.pending[id] {
            // Nobody is asked what workers hold before it matters.
            guard !self.selector.mustWait(pending.request, self.candidates(of: pending), self.load) else { break }
            if let overlaps = self.overlaps { pending.request.overlaps = overlaps.overlaps(pending.hashes) }
            guard let placed = self.place(id, pending, now: now, using: &generator) else { break }
            self.queue.remove(id)
            self.pending[id] = nil
            actions += placed
        }
        return actions
    }

    /// Sends or refuses a request.
    ///
    /// - Returns: nil when it must wait.
    private mutating func place(
        _ id: String,
        _ pending: Pending,
        now: ContinuousClock.Instant,
        using generator: inout some RandomNumberGenerator
    ) -> [Action]? {
        var request = pending.request
        self.predict(&request, now: now)
        let selection = self.selector.select(
            request,
            among: self.candidates(of: pending),
            load: self.load,
            using: &generator
        )
        switch selection {
        case .wait: return nil
        case .allBusy, .noWorker, .unnamed, .unknownWorker: return [.refuse(id, selection)]
        case .chosen(let choice):
            let event = self.selector.commit(id, request, choice, to: &self.load, now: now)
            if !self.configuration.usesKVEvents { self.prediction.record(request.blocks, on: choice.worker, now: now) }
            self.running[id] = Running(
                worker: choice.worker,
                tail: request.promptTokens % request.blockSize,
                blockSize: request.blockSize
            )
            return [.send(id, choice)] + self.load(of: choice.worker)
                + (self.configuration.syncsReplicas ? [.tell(event)] : [])
        }
    }

    private func candidates(of pending: Pending) -> [Candidate] {
        pending.excluded.isEmpty
            ? self.candidates : self.candidates.filter { !pending.excluded.contains($0.worker.worker) }
    }

    private mutating func predict(_ request: inout SelectionRequest, now: ContinuousClock.Instant) {
        guard !self.configuration.usesKVEvents else { return }
        request.overlaps = self.prediction.overlaps(request.blocks, now: now)
    }

    private func load(of worker: WorkerRank) -> [Action] {
        guard self.reportsLoad else { return [] }
        return [
            .load(
                WorkerLoad(
                    worker: worker,
                    activeDecodeBlocks: UInt64(self.load.blocks(of: worker).rounded()),
                    activePrefillTokens: UInt64(self.load.prefillTokens(of: worker))
                )
            )
        ]
    }

    private func tell(_ id: String, _ running: Running, _ change: ActiveSequenceEvent.Change) -> [Action] {
        guard self.configuration.syncsReplicas else { return [] }
        return [
            .tell(
                ActiveSequenceEvent(
                    requestID: id,
                    worker: running.worker,
                    change: change,
                    router: self.load.routerID
                )
            )
        ]
    }
}
