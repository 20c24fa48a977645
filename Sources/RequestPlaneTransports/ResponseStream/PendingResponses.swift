import NIOCore
import RequestPlane
import Synchronization

/// The requests that no worker has accepted yet, by subject.
///
/// A request that nobody calls home for fails when its time is over. One that was cancelled stays until then, so that a worker that does
/// call home can be told. One whose worker has called home waits without limit, as long as its instance stays in discovery.
final class PendingResponses: Sendable {
    private let state = Mutex(State())
    private let timeout: TimeAmount
    private let departureGrace: Duration
    private let deliveryGrace: Duration
    private let eventLoop: any EventLoop

    private struct Waiting {
        var buffer: ResponseBuffer
        /// The address of the instance, as in its record.
        var address: String
        var hasCalledHome = false
        var isAcknowledged = false
        let since = NIODeadline.now()
    }

    private struct State {
        var waiting: [String: Waiting] = [:]
        /// Acknowledged requests, oldest first; all wait equally long.
        var deadlines = CircularBuffer<(subject: String, deadline: NIODeadline)>()
        var isTimerSet = false
        /// When requests to instances that have left discovery fail, by address.
        var departures: [String: NIODeadline] = [:]
        /// The last connection that was turned away, which may have been a worker's.
        var refusal: (reason: String, time: NIODeadline)?

        /// Whether the subject is still waited for on the call-home port.
        func isExpected(_ subject: String) -> Bool { self.waiting[subject]?.hasCalledHome == false }
    }

    init(timeout: Duration, departureGrace: Duration, deliveryGrace: Duration, eventLoop: any EventLoop) {
        self.timeout = TimeAmount(timeout)
        self.departureGrace = departureGrace
        self.deliveryGrace = min(deliveryGrace, departureGrace)
        self.eventLoop = eventLoop
    }

    var count: Int { self.state.withLock { $0.waiting.count } }

    /// A request is about to be sent.
    func expect(_ subject: String, from address: String, _ buffer: ResponseBuffer) {
        self.state.withLock { $0.waiting[subject] = Waiting(buffer: buffer, address: address) }
    }

    /// The request was acknowledged: its worker has until the deadline to call home.
    func acknowledged(_ subject: String) {
        let deadline = NIODeadline.now() + self.timeout
        let mustSetTimer = self.state.withLock { state in
            guard state.isExpected(subject) else { return false }
            state.waiting[subject]?.isAcknowledged = true
            state.deadlines.append((subject, deadline))
            defer { state.isTimerSet = true }
            return !state.isTimerSet
        }
        if mustSetTimer { self.setTimer(deadline) }
    }

    /// Whether no worker has called home for the subject yet.
    func contains(_ subject: String) -> Bool { self.state.withLock { $0.isExpected(subject) } }

    /// A worker has called home; each subject is handed out once.
    func take(_ subject: String) -> ResponseBuffer? {
        self.state.withLock { state in
            guard state.isExpected(subject) else { return nil }
            state.waiting[subject]?.hasCalledHome = true
            Self.trim(&state)
            return state.waiting[subject]?.buffer
        }
    }

    /// The worker that has called home has accepted the request, or the answer has ended before.
    func settle(_ subject: String) { self.state.withLock { _ = $0.waiting.removeValue(forKey: subject) } }

    /// The request will not be answered; nil when its worker has called home all the same.
    func withdraw(_ subject: String) -> ResponseBuffer? {
        self.state.withLock { state in
            guard state.isExpected(subject) else { return nil }
            defer { Self.trim(&state) }
            return state.waiting.removeValue(forKey: subject)?.buffer
        }
    }

    /// A connection to the call-home port was turned away.
    func refused(_ reason: String) { self.state.withLock { $0.refusal = (reason, .now()) } }

    /// Fails everything that waits.
    func fail(_ failure: PlaneFailure) {
        let buffers = self.state.withLock { state in
            defer { state.waiting.removeAll() }
            return state.waiting.values.map(\.buffer)
        }
        for buffer in buffers { buffer.abandon(failure) }
    }

    /// Most are answered in order, so the queue stays as short as what really waits.
    private static func trim(_ state: inout State) {
        while let first = state.deadlines.first, !state.isExpected(first.subject) { state.deadlines.removeFirst() }
    }
}

// MARK: - Departure

extension PendingResponses {
    /// An instance has left discovery: what it has not accepted when the grace is over fails, and before that what has not even reached it.
    func instanceHasLeft(_ address: String) {
        let now = NIODeadline.now()
        let deadline = now + TimeAmount(self.departureGrace)
        let isNew = self.state.withLock { state in
            guard state.departures[address] == nil else { return false }
            state.departures[address] = deadline
            return true
        }
        guard isNew else { return }
        self.eventLoop.scheduleTask(deadline: now + TimeAmount(self.deliveryGrace)) { self.dropLost(address, deadline) }
        self.eventLoop.scheduleTask(deadline: deadline) { self.depart(address, deadline) }
    }

    /// An instance that had left discovery is there again.
    func instanceIsBack(_ address: String) { self.state.withLock { $0.departures[address] = nil } }

    private func depart(_ address: String, _ deadline: NIODeadline) {
        let failed = self.state.withLock { state -> [Waiting] in
            guard state.departures[address] == deadline else { return [] }
            state.departures[address] = nil
            return Self.take(from: &state) { $0.address == address }
        }
        for waiting in failed { waiting.buffer.abandon(self.failure(waiting)) }
    }

    /// Fails what an instance that has left has not acknowledged in all of the time for it; what was sent later has its own.
    private func dropLost(_ address: String, _ deadline: NIODeadline) {
        let grace = TimeAmount(self.deliveryGrace)
        let now = NIODeadline.now()
        let (lost, next) = self.state.withLock { state -> ([Waiting], NIODeadline?) in
            guard state.departures[address] == deadline else { return ([], nil) }
            func isUnheard(_ waiting: Waiting) -> Bool {
                waiting.address == address && !waiting.isAcknowledged && !waiting.hasCalledHome
            }
            let lost = Self.take(from: &state) { isUnheard($0) && $0.since + grace <= now }
            // What is sent later is looked for, too, for as long as the instance counts as departed.
            return (lost, state.waiting.values.filter(isUnheard).map { $0.since + grace }.min() ?? now + grace)
        }
        let reason = "the instance has left discovery, and has not acknowledged the request for \(self.deliveryGrace)"
        for waiting in lost { waiting.buffer.abandon(PlaneFailure(.unavailable, reason)) }
        if let next { self.eventLoop.scheduleTask(deadline: next) { self.dropLost(address, deadline) } }
    }

    private static func take(from state: inout State, _ condition: (Waiting) -> Bool) -> [Waiting] {
        let taken = state.waiting.filter { condition($0.value) }
        for subject in taken.keys { state.waiting[subject] = nil }
        self.trim(&state)
        return Array(taken.values)
    }

    private func failure(_ waiting: Waiting) -> PlaneFailure {
        let since = "the instance left discovery \(self.departureGrace) ago"
        // Only a worker that has not called home can be assumed not to have begun.
        return waiting.hasCalledHome
            ? PlaneFailure(.streamEndedEarly, "\(since) and has not accepted the request that it had called home for")
            : PlaneFailure(.unavailable, "\(since) and has not called home")
    }
}

// MARK: - Time

extension PendingResponses {
    private func setTimer(_ deadline: NIODeadline) {
        self.eventLoop.scheduleTask(deadline: deadline) { self.expire() }
    }

    private func expire() {
        let now = NIODeadline.now()
        let (expired, next, refusal) = self.state.withLock { state -> ([ResponseBuffer], NIODeadline?, String?) in
            var expired: [ResponseBuffer] = []
            var oldest = now
            while let first = state.deadlines.first {
                // Requests that were answered in the meantime do not keep the timer running.
                guard !state.isExpected(first.subject) || first.deadline <= now else { break }
                state.deadlines.removeFirst()
                guard state.isExpected(first.subject) else { continue }
                guard let waiting = state.waiting.removeValue(forKey: first.subject) else { continue }
                expired.append(waiting.buffer)
                oldest = min(oldest, waiting.since)
            }
            state.isTimerSet = !state.deadlines.isEmpty
            // A worker may call home, and be turned away, before its acknowledgement arrives.
            let refusal = state.refusal.flatMap { $0.time >= oldest ? $0.reason : nil }
            return (expired, state.deadlines.first?.deadline, refusal)
        }
        if let next { self.setTimer(next) }
        let hint = refusal.map { "; meanwhile a connection to the call-home port was refused: \($0)" } ?? ""
        let failure = PlaneFailure(
            .timedOut,
            "the worker acknowledged the request but did not call home in time\(hint)"
        )
        for buffer in expired { buffer.finish(failure) }
    }
}
