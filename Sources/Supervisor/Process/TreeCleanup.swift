/// A process below the keeper that is neither a running leader nor below one: its leader has ended, or it has left it.
struct Stray: Sendable, Hashable {
    var pid: Int32
    var startTime: UInt64
    /// The replica that it belongs to, when that can be told.
    var owner: Int?
    var command: String

    /// Whether it still runs; reads /proc.
    var isThere: Bool {
        ProcessTable.entry(of: self.pid).map { $0.startTime == self.startTime && !$0.isZombie } ?? false
    }
}

/// Ends what replicas leave behind, as a value: SIGTERM, then SIGKILL after the grace, until nothing is left.
struct TreeCleanup: Sendable {
    enum Action: Equatable {
        case signal(Stray, Int32)
        /// Nothing is left of the replica; `killed` had not followed SIGTERM, `survivors` not even SIGKILL.
        case cleared(replica: Int, run: Int, killed: [String], survivors: [Stray])
    }

    private struct Pending: Sendable {
        var run: Int
        var since: ContinuousClock.Instant
        var killAt: ContinuousClock.Instant
        var asked: Set<Int32> = []
        var killed: [Int32: String] = [:]
    }

    /// How long a process may take to go after SIGKILL.
    static let killLimit: Duration = .seconds(5)

    private var pending: [Int: Pending] = [:]

    var isEmpty: Bool { self.pending.isEmpty }

    /// A replica whose leader has ended.
    ///
    /// Asking again can only shorten the grace.
    mutating func add(replica: Int, run: Int, grace: Duration, at now: ContinuousClock.Instant) {
        if var known = self.pending[replica], known.run == run {
            known.killAt = min(known.killAt, now + grace)
            self.pending[replica] = known
        } else {
            self.pending[replica] = Pending(run: run, since: now, killAt: now + grace)
        }
    }

    /// Decides what to do about the strays that were just seen.
    mutating func evaluate(_ strays: [Stray], at now: ContinuousClock.Instant) -> [Action] {
        var actions: [Action] = []
        let owned = Dictionary(grouping: strays.filter { $0.owner != nil }) { $0.owner ?? -1 }
        for replica in self.pending.keys.sorted() {
            guard var pending = self.pending[replica] else { continue }
            let left = owned[replica] ?? []
            let mustGo = now >= pending.killAt + Self.killLimit
            if left.isEmpty || mustGo {
                self.pending[replica] = nil
                actions.append(
                    .cleared(
                        replica: replica,
                        run: pending.run,
                        killed: pending.killed.sorted { $0.key < $1.key }.map { "\($0.value) (pid \($0.key))" },
                        survivors: left
                    )
                )
                continue
            }
            for stray in left {
                if now >= pending.killAt {
                    if pending.asked.contains(stray.pid) { pending.killed[stray.pid] = stray.command }
                    actions.append(.signal(stray, 9))
                } else if pending.asked.insert(stray.pid).inserted {
                    actions.append(.signal(stray, 15))
                }
            }
            self.pending[replica] = pending
        }
        return actions
    }
}
