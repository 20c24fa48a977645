package import NIOCore

/// Decides which backend gets a request, which requests wait, and which backends are left alone.
///
///     arrive ──► send ──► finish            a backend is ready
///        │         ▲
///        ├──► hold ┤                        none is; the oldest goes first when one comes
///        │         └─► refuse (503)         patience has run out
///        └──► refuse (503)                  too many wait, or too many are at backends
///
/// No I/O and no clock: the caller brings the time, and performs the actions.
package struct Traffic<Waiter: Sendable>: Sendable {
    /// A request's place at a backend; given back with ``finish(_:_:now:)``, once.
    package struct Assignment: Hashable, Sendable {
        /// Unique for as long as the gateway runs.
        package let slot: Int
        package let backend: Backend
    }

    /// What happens with a request that arrives.
    package enum Decision: Hashable, Sendable {
        case send(Assignment)
        /// It waits under this number.
        case hold(UInt64)
        case refuse(Refusal)
    }

    /// What is to be done for others.
    package enum Action: Sendable {
        /// A request that waited goes on.
        case send(Waiter, Assignment)
        /// A request has waited long enough.
        case refuse(Waiter, Refusal)
        /// Idle connections of this slot are of no more use.
        case retire(slot: Int)
        /// An ejected backend is asked whether it is well; the answer goes to ``probed(slot:isWell:now:)``.
        case probe(slot: Int, Backend)
    }

    private struct Slot: Sendable {
        let id: Int
        var backend: Backend
        /// Where its generation stands.
        let generation: Int
        var outstanding = 0
        /// Which request was its last one.
        var turn: UInt64 = 0
        var isRetired = false
        /// Failures in a row on new connections.
        var failures = 0
        var ejections = 0
        /// Left alone until then, and until it says that it is well; nil: ready.
        var ejectedUntil: NIODeadline?
        /// It is being asked whether it is well.
        var isProbed = false
        var statistics: BackendStatistics
    }

    private struct Held: Sendable {
        let waiter: Waiter
        let bytes: Int
        let deadline: NIODeadline
    }

    private let hold: HoldPolicy
    private let upstream: UpstreamPolicy
    private let maximumRequests: Int
    private let patience: TimeAmount

    private var slots: [Slot] = []
    private var nextSlot = 0
    private var generations = Generations()
    /// Requests that backends were given.
    private var turns: UInt64 = 0
    private var held: [UInt64: Held] = [:]
    /// In the order of arrival; those that have left stay until they are met.
    private var queue = CircularBuffer<UInt64>()
    private var nextHeld: UInt64 = 0
    private var past = PastStatistics()
    /// The port is being closed: no backend will come any more.
    private var isClosing = false

    package private(set) var heldBytes = 0
    package private(set) var inFlight = 0

    package init(hold: HoldPolicy, upstream: UpstreamPolicy, maximumRequests: Int) {
        self.hold = hold
        self.upstream = upstream
        self.maximumRequests = maximumRequests
        self.patience = TimeAmount(hold.patience)
    }

    package var heldRequests: Int { self.held.count }

    /// Each backend of each generation once, with what was counted; those that are gone last.
    package var statistics: [BackendStatistics] {
        let current = self.slots.filter { !$0.isRetired } + self.slots.filter(\.isRetired)
        var result: [BackendStatistics] = []
        for statistics in current.map(\.statistics) + self.past.list {
            let same = result.firstIndex {
                $0.backend.id == statistics.backend.id && $0.backend.generation == statistics.backend.generation
            }
            if let same { result[same].add(statistics) } else { result.append(statistics) }
        }
        return result
    }

    // MARK: Requests

    /// A request arrives, or comes back unsent.
    ///
    /// - Parameters:
    ///   - waiter: who is told when it has to wait.
    ///   - bytes: what the gateway holds of it.
    ///   - deadline: until when it may wait; nil: it is new.
    ///   - generation: the one that it was given before, and stays with if that can take it; nil: none.
    ///   - now: the time.
    /// - Returns: what happens with it.
    package mutating func arrive(
        _ waiter: Waiter,
        bytes: Int,
        deadline: NIODeadline? = nil,
        generation: Int? = nil,
        now: NIODeadline
    ) -> Decision {
        // Those that wait go first.
        if self.held.isEmpty || deadline != nil, self.inFlight < self.maximumRequests,
            let index = self.pick(preferring: generation)
        {
            return .send(self.assign(index))
        }
        guard self.inFlight < self.maximumRequests else {
            return .refuse(.tooManyRequests(self.maximumRequests))
        }
        let until = deadline ?? now + self.patience
        guard !self.isClosing else { return .refuse(.closing) }
        guard self.hold.maximumRequests > 0 else { return .refuse(.noBackend("")) }
        guard until > now else { return .refuse(.impatient(self.hold.patience)) }
        guard self.held.count < self.hold.maximumRequests, self.heldBytes + bytes <= self.hold.maximumBytes else {
            return .refuse(.noBackend(", and \(self.held.count) requests are waiting already"))
        }
        let id = self.nextHeld
        self.nextHeld += 1
        self.held[id] = Held(waiter: waiter, bytes: bytes, deadline: until)
        self.heldBytes += bytes
        // What has waited before has the earlier deadline.
        if deadline == nil { self.queue.append(id) } else { self.queue.prepend(id) }
        return .hold(id)
    }

    /// A waiting request's client has left.
    package mutating func leave(_ id: UInt64) { _ = self.take(id) }

    /// A request has ended at its backend.
    ///
    /// - Parameters:
    ///   - assignment: its place.
    ///   - result: how it ended.
    ///   - now: the time.
    /// - Returns: what becomes possible.
    package mutating func finish(
        _ assignment: Assignment,
        _ result: ExchangeResult,
        now: NIODeadline
    ) -> [Action] {
        self.inFlight -= 1
        guard let index = self.slots.indices.first(where: { self.slots[$0].id == assignment.slot }) else {
            preconditionFailure("slot \(assignment.slot) is gone, although a request is at it")
        }
        self.slots[index].outstanding -= 1
        self.slots[index].statistics.record(result)
        self.generations.ended(self.slots[index].generation, result)
        switch result.health {
        case .well:
            self.slots[index].failures = 0
            // The answer to a request that it had before says nothing about new connections.
            if self.slots[index].ejectedUntil == nil { self.slots[index].ejections = 0 }
        case .unwell(let isCertain): self.failed(index, isCertain: isCertain, now)
        case .unknown: break
        }
        self.removeIfDone(index)
        return self.release()
    }

    // MARK: Backends

    /// Replaces the backends that may get requests.
    ///
    /// - Parameters:
    ///   - backends: ready ones; none: requests wait.
    ///   - shares: the weight of each generation in the choice that is made for each request before a backend is chosen; a generation
    ///     without a weight above zero gets nothing new, and is not done with. nil: all backends are equal.
    ///   - now: the time.
    /// - Returns: requests that go on, and slots that are done with.
    package mutating func setBackends(
        _ backends: [Backend],
        shares: [Int: Int]? = nil,
        now: NIODeadline
    ) -> [Action] {
        var actions: [Action] = []
        self.generations.set(shares)
        for index in self.slots.indices where !self.slots[index].isRetired {
            guard !backends.contains(self.slots[index].backend) else { continue }
            self.slots[index].isRetired = true
            actions.append(.retire(slot: self.slots[index].id))
        }
        for index in self.slots.indices.reversed() { self.removeIfDone(index) }
        for backend in backends where !self.slots.contains(where: { !$0.isRetired && $0.backend == backend }) {
            let statistics = self.past.take(backend) ?? BackendStatistics(backend)
            let generation = self.generations.index(of: backend.generation)
            self.slots.append(
                Slot(id: self.nextSlot, backend: backend, generation: generation, statistics: statistics)
            )
            self.nextSlot += 1
        }
        return actions + self.release()
    }

    /// An ejected backend was asked whether it is well.
    ///
    /// - Parameters:
    ///   - slot: its place.
    ///   - isWell: whether it answered so.
    ///   - now: the time.
    /// - Returns: requests that go on.
    package mutating func probed(slot: Int, isWell: Bool, now: NIODeadline) -> [Action] {
        guard let index = self.slots.firstIndex(where: { $0.id == slot }), self.slots[index].isProbed else { return [] }
        self.slots[index].isProbed = false
        guard isWell else {
            self.eject(index, now)
            return []
        }
        self.slots[index].failures = 0
        self.slots[index].ejectedUntil = nil
        return self.release()
    }

    /// No backend will come any more: what waits for one is refused, now and later; what backends have goes on.
    ///
    /// - Returns: the requests that waited.
    package mutating func stopHolding() -> [Action] {
        self.isClosing = true
        var actions: [Action] = []
        while let id = self.firstHeld(), let first = self.take(id) {
            actions.append(.refuse(first.waiter, .closing))
        }
        return actions
    }

    /// Requests that a backend has, whether it still gets new ones or not.
    package func outstanding(at backend: Backend) -> Int {
        self.slots.reduce(0) { $1.backend == backend ? $0 + $1.outstanding : $0 }
    }

    /// Requests that the backends of a generation have, whether they still get new ones or not.
    package func outstanding(generation: Int) -> Int { self.generations.outstanding(generation) }

    /// What was counted of each generation, by its number.
    package var figures: [Int: TrafficFigures] { self.generations.figures }

    /// What was counted of all backends that a generation has had.
    package func figures(of generation: Int) -> TrafficFigures { self.generations.figures(of: generation) }

    /// The time has come that ``wakeTime`` told.
    ///
    /// - Returns: requests that have waited long enough, and backends that are to be asked.
    package mutating func tick(now: NIODeadline) -> [Action] {
        var actions: [Action] = self.release()
        for index in self.slots.indices {
            let slot = self.slots[index]
            guard !slot.isRetired, !slot.isProbed, let until = slot.ejectedUntil, until <= now else { continue }
            self.slots[index].isProbed = true
            actions.append(.probe(slot: slot.id, slot.backend))
        }
        while let id = self.firstHeld(), let first = self.held[id], first.deadline <= now {
            _ = self.take(id)
            actions.append(.refuse(first.waiter, .impatient(self.hold.patience)))
        }
        return actions
    }

    /// When ``tick(now:)`` has something to do; nil: only when something else happens.
    package mutating func wakeTime() -> NIODeadline? {
        let patience = self.firstHeld().flatMap { self.held[$0]?.deadline }
        return self.slots.reduce(patience) { earliest, slot in
            guard !slot.isRetired, !slot.isProbed, let until = slot.ejectedUntil else { return earliest }
            return min(earliest ?? until, until)
        }
    }

    // MARK: Parts

    /// The ready backend with the fewest requests; with shares: of the generation whose turn it is.
    ///
    /// Whoever asks must give it a request.
    private mutating func pick(preferring generation: Int? = nil) -> Int? {
        let hasShares = self.generations.hasShares
        if hasShares { self.generations.beginChoice() }
        var best: Candidate?
        for index in self.slots.indices {
            // No copy of the slot: it holds all that was counted.
            if self.slots[index].isRetired || self.slots[index].ejectedUntil != nil { continue }
            let candidate = Candidate(
                index: index,
                outstanding: self.slots[index].outstanding,
                turn: self.slots[index].turn
            )
            if hasShares {
                self.generations.offer(candidate, of: self.slots[index].generation)
            } else if candidate.isBetter(than: best) {
                best = candidate
            }
        }
        return hasShares ? self.generations.choose(preferring: generation) : best?.index
    }

    private mutating func assign(_ index: Int) -> Assignment {
        self.turns += 1
        self.slots[index].turn = self.turns
        self.slots[index].outstanding += 1
        self.slots[index].statistics.inFlight += 1
        self.generations.began(self.slots[index].generation)
        self.inFlight += 1
        return Assignment(slot: self.slots[index].id, backend: self.slots[index].backend)
    }

    /// Lets those that wait go on while there is somebody to take them.
    private mutating func release() -> [Action] {
        var actions: [Action] = []
        while let id = self.firstHeld(), self.inFlight < self.maximumRequests, let index = self.pick() {
            guard let first = self.take(id) else { break }
            actions.append(.send(first.waiter, self.assign(index)))
        }
        return actions
    }

    private mutating func firstHeld() -> UInt64? {
        while let first = self.queue.first {
            if self.held[first] != nil { return first }
            self.queue.removeFirst()
        }
        return nil
    }

    private mutating func take(_ id: UInt64) -> Held? {
        guard let held = self.held.removeValue(forKey: id) else { return nil }
        self.heldBytes -= held.bytes
        if self.held.isEmpty {
            self.queue.removeAll(keepingCapacity: true)
        } else if self.queue.count > 2 * self.held.count + 64 {
            self.queue = CircularBuffer(self.queue.filter { self.held[$0] != nil })
        }
        return held
    }

    private mutating func failed(_ index: Int, isCertain: Bool, _ now: NIODeadline) {
        self.slots[index].failures += 1
        guard isCertain || self.slots[index].failures >= self.upstream.failuresToEject else { return }
        // Several requests that fail together are one ejection.
        guard self.slots[index].ejectedUntil == nil else { return }
        self.slots[index].statistics.ejections += 1
        self.eject(index, now)
    }

    private mutating func eject(_ index: Int, _ now: NIODeadline) {
        var length = self.upstream.ejection
        for _ in 0..<min(self.slots[index].ejections, 16) { length = min(length * 2, self.upstream.longestEjection) }
        self.slots[index].ejections += 1
        self.slots[index].ejectedUntil = now + TimeAmount(length)
    }

    private mutating func removeIfDone(_ index: Int) {
        guard self.slots[index].isRetired, self.slots[index].outstanding == 0 else { return }
        self.past.keep(self.slots.remove(at: index).statistics)
    }
}

extension Traffic.Action: Equatable where Waiter: Equatable {}

extension TimeAmount {
    /// The same time in NIO's unit.
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
