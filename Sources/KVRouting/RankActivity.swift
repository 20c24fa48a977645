package import KVRouter
import Synchronization

/// What was heard of one rank since a feed began, or since the rank was registered.
package struct RankActivity: Hashable, Sendable {
    /// Events that arrived live.
    package var events = 0
    /// Jumps of event ids.
    package var gaps = 0
    /// Answers that brought the rank up to date, the first one included.
    package var recoveries = 0
    /// Questions that were given up.
    package var failures = 0

    package init() {}
}

/// One rank in the index of a router.
package struct RankStatus: Hashable, Sendable {
    package var rank: WorkerRank
    /// That it holds.
    package var blocks: Int
    package var activity: RankActivity
    /// Whether discovery has its query endpoint.
    package var isRegistered: Bool
    /// Whether an answer of the worker is awaited or being applied.
    package var isRecovering: Bool
}

/// Counts by rank, from any thread.
final class ActivityLog: Sendable {
    private let counts = Mutex<[WorkerRank: RankActivity]>([:])

    var all: [WorkerRank: RankActivity] { self.counts.withLock { $0 } }

    func received(_ events: [RouterEvent]) {
        self.counts.withLock { counts in
            for event in events {
                counts[WorkerRank(worker: event.worker, rank: event.event.rank), default: RankActivity()].events += 1
            }
        }
    }

    func reported(_ report: IndexerReport) {
        self.counts.withLock { counts in
            switch report {
            case .gap(let rank, _): counts[rank, default: RankActivity()].gaps += 1
            case .recovered(let rank, _): counts[rank, default: RankActivity()].recoveries += 1
            case .gaveUp(let query, _): counts[query.rank, default: RankActivity()].failures += 1
            case .unknown, .restarted, .failed, .late: break
            }
        }
    }

    func forget(_ rank: WorkerRank) { self.counts.withLock { $0[rank] = nil } }
}
