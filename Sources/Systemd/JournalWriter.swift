internal import CSystemd
internal import Dispatch
internal import Glibc
internal import Synchronization

/// Writes entries to the journal (`sd_journal_sendv(3)`) without ever holding up the caller.
///
/// The library's call waits while the journal takes nothing, so it is made on a thread of its own. What waits for it is bounded:
/// beyond that, entries are lost, counted, and the count is written when there is room again. Entries that the journal refuses
/// go to the fallback.
package final class JournalWriter: Sendable {
    private struct State: Sendable {
        var waiting: [JournalEntry] = []
        /// Of what waits and of what is being sent.
        var size = 0
        var count = 0
        /// Since it was said last.
        var lost = 0
        var isDraining = false
        var isRefused = false
        var finishers: [CheckedContinuation<Void, Never>] = []
    }

    /// Sends one entry; answers 0 or an error number.
    typealias Send = @Sendable (JournalEntry) -> Int32

    private let limit: Int
    private let send: Send
    private let lossReport: @Sendable (Int) -> JournalEntry
    private let fallback: @Sendable (JournalEntry, _ reason: String?) -> Void
    private let state = Mutex(State())
    private let queue = DispatchQueue(label: "dynamo-launch.journal")

    /// Where the journal listens (`systemd-journald.service(8)`).
    package static let socketPath = "/run/systemd/journal/socket"

    /// Creates a writer.
    ///
    /// - Parameters:
    ///   - lossReport: makes the entry that says how many were lost.
    ///   - fallback: gets what the journal refused, on the writer's thread, which it may hold up; the reason comes with the first
    ///     one of a row.
    package convenience init(
        lossReport: @escaping @Sendable (Int) -> JournalEntry,
        fallback: @escaping @Sendable (JournalEntry, _ reason: String?) -> Void
    ) {
        self.init(limit: 8 << 20, send: Self.send, lossReport: lossReport, fallback: fallback)
    }

    /// The same with another journal and another bound, in bytes.
    init(
        limit: Int,
        send: @escaping Send,
        lossReport: @escaping @Sendable (Int) -> JournalEntry,
        fallback: @escaping @Sendable (JournalEntry, _ reason: String?) -> Void
    ) {
        self.limit = limit
        self.send = send
        self.lossReport = lossReport
        self.fallback = fallback
    }

    /// Whether there is a journal on this machine.
    package static var isThere: Bool { access(Self.socketPath, F_OK) == 0 }

    /// Hands an entry over, or counts it as lost; returns at once.
    package func write(_ entry: JournalEntry) {
        let mustStart = self.state.withLock { state in
            guard state.size + entry.size <= self.limit || state.count == 0 else {
                state.lost += 1
                return false
            }
            state.waiting.append(entry)
            state.size += entry.size
            state.count += 1
            guard !state.isDraining else { return false }
            state.isDraining = true
            return true
        }
        if mustStart { self.queue.async { self.drain() } }
    }

    /// Waits until everything was handed to the journal, or for so long.
    ///
    /// - Parameter limit: how long.
    /// - Returns: how many entries the journal has not taken.
    package func finish(within limit: Duration) async -> Int {
        await withCheckedContinuation { continuation in
            let isIdle = self.state.withLock { state in
                guard state.isDraining else { return true }
                state.finishers.append(continuation)
                return false
            }
            if isIdle { return continuation.resume() }
            DispatchQueue.global().asyncAfter(deadline: .now() + limit / .seconds(1)) { self.resumeFinishers() }
        }
        return self.state.withLock { $0.count + $0.lost }
    }

    private func resumeFinishers() {
        let finishers = self.state.withLock { state in
            defer { state.finishers = [] }
            return state.finishers
        }
        for finisher in finishers { finisher.resume() }
    }

    // MARK: On the queue

    private func drain() {
        while let batch = self.take() {
            for entry in batch {
                let error = self.send(entry)
                let (isRefused, isFirst) = self.state.withLock { state in
                    state.size -= entry.size
                    state.count -= 1
                    defer { state.isRefused = error != 0 }
                    return (error != 0, !state.isRefused)
                }
                guard isRefused else { continue }
                self.fallback(entry, isFirst ? String(cString: strerror(error)) : nil)
            }
        }
    }

    /// What waits, with a report of what was lost behind it; nil when there is nothing.
    private func take() -> [JournalEntry]? {
        let (batch, finishers) = self.state.withLock { state -> ([JournalEntry], [CheckedContinuation<Void, Never>]) in
            var batch = state.waiting
            state.waiting = []
            if state.lost > 0 {
                let report = self.lossReport(state.lost)
                state.lost = 0
                state.size += report.size
                state.count += 1
                batch.append(report)
            }
            guard batch.isEmpty else { return (batch, []) }
            // Under the same lock: those who wait from now on wait for what is written from now on.
            defer { state.finishers = [] }
            state.isDraining = false
            return (batch, state.finishers)
        }
        for finisher in finishers { finisher.resume() }
        return batch.isEmpty ? nil : batch
    }

    private static func send(_ entry: JournalEntry) -> Int32 {
        // The library is content when there is no journal.
        guard self.isThere else { return errno }
        var (bytes, ends) = entry.encoded
        let result = bytes.withUnsafeMutableBytes { bytes -> Int32 in
            guard let base = bytes.baseAddress else { return 0 }
            var start = 0
            let pieces = ends.map { end in
                defer { start = end }
                return iovec(iov_base: base + start, iov_len: end - start)
            }
            return sd_journal_sendv(pieces, Int32(pieces.count))
        }
        return result < 0 ? -result : 0
    }
}
