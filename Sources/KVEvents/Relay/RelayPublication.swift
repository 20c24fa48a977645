import KVRouter
package import Logging
import Synchronization

/// Publishes what relays hand on for the ranks of one worker.
///
/// Until the worker is known it only remembers what the engine holds, which is what its cache can hold at most; then that is
/// published, and what follows as it comes. Nothing that an engine says early is lost, and nothing has to wait.
package final class RelayPublication: Sendable {
    private struct State {
        /// By rank; nil while the worker is not known.
        var publishers: [KVEventPublisher]?
        /// What each rank holds, by block size, while the worker is not known.
        var held: [UInt32: [Int: PresentBlocks]] = [:]
        /// Tokens of a block; nil while that is not known.
        var blockSize: Int?
        var otherRanks = 0
    }

    private let ranks: Int
    private let logger: Logger
    private let state: Mutex<State>
    /// An engine with groups of layers has a block size for each; more than a few are no engine's.
    private static let maximumSizes = 8

    /// - Parameters:
    ///   - ranks: how many data-parallel ranks the worker has.
    ///   - logger: hears of events that belong to none of them.
    package init(ranks: Int, logger: Logger) {
        self.ranks = ranks
        self.logger = logger
        self.state = Mutex(State())
    }

    /// Blocks that the engine is known to hold, of all ranks.
    package var blockCount: Int {
        self.state.withLock { state in
            state.publishers?.reduce(0) { $0 + $1.blockCount }
                ?? state.held.values.reduce(0) { $0 + $1.values.reduce(0) { $0 + $1.count } }
        }
    }

    /// Events of ranks that the worker does not have.
    package var otherRanks: Int { self.state.withLock { $0.otherRanks } }

    /// Takes changes in order; the sink of the relays.
    package func take(_ changes: [RelayedChange]) {
        var strangers: [(rank: UInt32, count: Int)] = []
        self.state.withLock { state in
            for change in changes {
                guard change.rank < self.ranks else {
                    state.otherRanks += 1
                    strangers.append((change.rank, state.otherRanks))
                    continue
                }
                if let publishers = state.publishers {
                    self.publish(change, publishers, state.blockSize)
                } else {
                    Self.hold(change, &state)
                }
            }
        }
        // Each time that there are twice as many: an engine says it with every message.
        for (rank, count) in strangers where count & (count - 1) == 0 {
            self.logger.error(
                """
                KV events of data-parallel rank \(rank) are left out, because the worker has \
                \(self.ranks == 1 ? "rank 0 only" : "ranks 0 to \(self.ranks - 1)"); say how many ranks the engine has \
                (\(count) so far)
                """
            )
        }
    }

    private func publish(_ change: RelayedChange, _ publishers: [KVEventPublisher], _ blockSize: Int?) {
        let publisher = publishers[Int(change.rank)]
        switch change.change {
        case .stored where change.blockSize != nil && change.blockSize != blockSize: break
        // Routers empty all ranks of a worker that says so for one.
        case .cleared where publishers.count > 1:
            let blocks = publisher.present.blocks
            if !blocks.isEmpty { publisher.removed(blocks) }
        case .stored, .removed, .cleared: publisher.publish(change.change)
        }
    }

    private static func hold(_ change: RelayedChange, _ state: inout State) {
        switch change.change {
        case .stored:
            let size = change.blockSize ?? state.blockSize ?? 0
            var sizes = state.held[change.rank] ?? [:]
            guard sizes[size] != nil || sizes.count < self.maximumSizes else { return }
            sizes[size, default: PresentBlocks()].apply(change.change)
            state.held[change.rank] = sizes
        case .removed:
            for size in (state.held[change.rank] ?? [:]).keys {
                state.held[change.rank]?[size]?.apply(change.change)
            }
        case .cleared: state.held[change.rank] = nil
        }
    }

    /// The worker is known: publishes what the engine holds, and from now on what it does.
    ///
    /// - Parameters:
    ///   - publishers: of ranks 0, 1, …, as many as the worker has.
    ///   - blockSize: tokens of a block, as routers hash prompts.
    package func attach(_ publishers: [KVEventPublisher], blockSize: Int) {
        precondition(publishers.count == self.ranks, "one publisher for each rank")
        self.state.withLock { state in
            for (rank, sizes) in state.held {
                // Without a size they came through a relay that knows it.
                for (size, blocks) in sizes where size == blockSize || size == 0 {
                    let publisher = publishers[Int(rank)]
                    for change in blocks.stores(upTo: publisher.configuration.blocksPerEvent) {
                        publisher.publish(change)
                    }
                }
            }
            state.held = [:]
            state.publishers = publishers
            state.blockSize = blockSize
        }
    }

    /// The worker is gone, the engine may not be: remembers what it holds for the next one.
    package func detach() {
        self.state.withLock { state in
            guard let publishers = state.publishers else { return }
            for (rank, publisher) in publishers.enumerated() where !publisher.present.isEmpty {
                state.held[UInt32(rank)] = [state.blockSize ?? 0: publisher.present]
            }
            state.publishers = nil
        }
    }
}
