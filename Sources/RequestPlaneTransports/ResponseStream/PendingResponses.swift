import NIOCore
import RequestPlane
import Synchronization

/// The requests whose worker has not called home yet, by subject.
///
/// A request that nobody calls home for fails when its time is over. One that was cancelled stays until then, so that a worker that
/// does call home can be told.
final class PendingResponses: Sendable {
    private let state = Mutex(State())
    private let timeout: TimeAmount
    private let eventLoop: any EventLoop

    private struct Waiting {
        var buffer: ResponseBuffer
        /// The address of the instance, as in its record.
        var address: String
    }

    private struct State {
        var waiting: [String: Waiting] = [:]
        /// Acknowledged requests, oldest first; all wait equally long.
        var deadlines = CircularBuffer<(subject: String, deadline: NIODeadline)>()
        var isTimerSet = false
    }

    init(timeout: Duration, eventLoop: any EventLoop) {
        self.timeout = TimeAmount(timeout)
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
            guard state.waiting[subject] != nil else { return false }
            state.deadlines.append((subject, deadline))
            defer { state.isTimerSet = true }
            return !state.isTimerSet
        }
        if mustSetTimer { self.setTimer(deadline) }
    }

    func contains(_ subject: String) -> Bool { self.state.withLock { $0.waiting[subject] != nil } }

    /// A worker has called home; each subject is handed out once.
    func take(_ subject: String) -> ResponseBuffer? {
        self.state.withLock { state in
            let buffer = state.waiting.removeValue(forKey: subject)?.buffer
            // Most are answered in order, so the queue stays as short as what really waits.
            while let first = state.deadlines.first, state.waiting[first.subject] == nil {
                state.deadlines.removeFirst()
            }
            return buffer
        }
    }

    /// Fails everything that waits for an instance, or everything that waits.
    func fail(_ failure: PlaneFailure, from address: String? = nil) {
        let buffers = self.state.withLock { state in
            let failed = state.waiting.filter { address == nil || $0.value.address == address }
            for subject in failed.keys { state.waiting[subject] = nil }
            return failed.values.map(\.buffer)
        }
        for buffer in buffers { buffer.finish(failure) }
    }

    private func setTimer(_ deadline: NIODeadline) {
        self.eventLoop.scheduleTask(deadline: deadline) { self.expire() }
    }

    private func expire() {
        let now = NIODeadline.now()
        let (expired, next) = self.state.withLock { state -> ([ResponseBuffer], NIODeadline?) in
            var expired: [ResponseBuffer] = []
            while let first = state.deadlines.first {
                // Requests that were answered in the meantime do not keep the timer running.
                guard state.waiting[first.subject] == nil || first.deadline <= now else { break }
                state.deadlines.removeFirst()
                if let waiting = state.waiting.removeValue(forKey: first.subject) { expired.append(waiting.buffer) }
            }
            state.isTimerSet = !state.deadlines.isEmpty
            return (expired, state.deadlines.first?.deadline)
        }
        if let next { self.setTimer(next) }
        let failure = PlaneFailure(.timedOut, "the worker acknowledged the request but did not call home in time")
        for buffer in expired { buffer.finish(failure) }
    }
}
