package import KVRouter
package import Logging
package import NATS
import NIOCore
package import RequestPlane
import Synchronization

/// Tells routers which blocks a worker holds, and answers those that have missed something.
///
/// `publish` is for the engine: it does no I/O. `run()` sends what has been published.
package final class KVEventPublisher: Sendable {
    package let configuration: PublisherConfiguration
    private let sink: any KVEventSink
    private let logger: Logger
    private let state: Mutex<State>
    private let wakeUps: AsyncStream<Void>
    private let wakeUp: AsyncStream<Void>.Continuation

    private struct State {
        var machine: PublisherMachine
        var waiting: [CheckedContinuation<Void, Never>] = []
        var isOver = false
    }

    /// How long to wait before something is tried again that could not be sent.
    private static let retryPause: Duration = .milliseconds(20)
    /// How long to wait after events were lost: what is wrong may last.
    private static let lossPause: Duration = .milliseconds(500)
    /// When, after a connection is back, the newest event is repeated: routers may come back later than the publisher.
    private static let repeats: [Duration] = [.milliseconds(500), .seconds(1), .seconds(2), .seconds(5)]

    package init(_ configuration: PublisherConfiguration, sink: any KVEventSink, logger: Logger) {
        self.configuration = configuration
        self.sink = sink
        self.logger = logger
        self.state = Mutex(State(machine: PublisherMachine(configuration)))
        (self.wakeUps, self.wakeUp) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// A publisher on NATS core, in one form.
    package convenience init(_ configuration: PublisherConfiguration, connection: NATSConnection, logger: Logger) {
        let channel = EventChannel(
            .events,
            configuration.form,
            of: configuration.endpoint,
            publisher: configuration.publisher,
            connection: connection
        )
        self.init(configuration, sink: EventChannelSink(channel), logger: logger)
    }

    package var statistics: PublisherStatistics { self.state.withLock { $0.machine.statistics } }

    /// Blocks that the worker holds.
    package var blockCount: Int { self.state.withLock { $0.machine.present.count } }

    /// The blocks that the worker holds.
    package var present: PresentBlocks { self.state.withLock { $0.machine.present } }

    // MARK: The engine

    /// Whether an engine should go on.
    package enum Demand: Hashable, Sendable {
        case more
        /// Much waits to be sent: `waitForRoom()` tells when to go on.
        ///
        /// Who goes on all the same loses nothing; it may cost a resync.
        case wait
    }

    /// Takes what the engine has done; does no I/O.
    ///
    /// - Parameter change: in the order in which it happened.
    /// - Returns: whether to go on.
    @discardableResult
    package func publish(_ change: KVEvent.Change) -> Demand {
        let taken = self.state.withLock { $0.machine.publish(change) }
        if taken.wakesLoop { self.wakeUp.yield() }
        return taken.isCongested ? .wait : .more
    }

    /// Blocks are in the cache now.
    @discardableResult
    package func stored(_ blocks: [StoredBlock], after parent: BlockHash?) -> Demand {
        self.publish(.stored(parent: parent, blocks: blocks))
    }

    /// Blocks are gone; their children must be named too.
    @discardableResult
    package func removed(_ blocks: [BlockHash]) -> Demand { self.publish(.removed(blocks)) }

    /// The cache is empty.
    @discardableResult
    package func cleared() -> Demand { self.publish(.cleared) }

    /// Returns when there is room, when routers cannot be reached anyway, or when `run()` has ended.
    package func waitForRoom() async {
        await withCheckedContinuation { continuation in
            let waits = self.state.withLock { state in
                guard state.machine.isCongested, !state.isOver else { return false }
                state.waiting.append(continuation)
                return true
            }
            if !waits { continuation.resume() }
        }
    }

    private func resumeWaiting() {
        let waiting = self.state.withLock { state -> [CheckedContinuation<Void, Never>] in
            guard !state.waiting.isEmpty, state.isOver || !state.machine.isCongested else { return [] }
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    // MARK: Sending

    /// Sends what is published until cancelled; call once.
    package func run() async {
        let links = self.sink.linkChanges()
        let (returns, returned) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.sendLoop() }
            group.addTask {
                for await isUp in links {
                    if self.state.withLock({ $0.machine.linkChanged(isUp: isUp) }) { self.wakeUp.yield() }
                    self.resumeWaiting()
                    if isUp { returned.yield() }
                }
            }
            group.addTask {
                for await _ in returns { await self.repeatNewest() }
            }
        }
        self.state.withLock { $0.isOver = true }
        self.resumeWaiting()
    }

    private func sendLoop() async {
        for await _ in self.wakeUps {
            while !Task.isCancelled {
                let batch = self.state.withLock { $0.machine.takeBatch() }
                guard !batch.isEmpty else { break }
                do {
                    try await self.sink.send(batch)
                } catch let lost as EventsLost {
                    self.state.withLock { $0.machine.lose(batch) }
                    self.logger.warning("KV events were lost; everything is sent anew", metadata: ["reason": "\(lost)"])
                    try? await Task.sleep(for: Self.lossPause)
                } catch {
                    let part = error as? SentInPart
                    self.state.withLock { $0.machine.giveBack(batch.dropFirst(part?.count ?? 0)) }
                    self.logger.debug("KV events wait", metadata: ["reason": "\(part?.reason ?? error)"])
                    try? await Task.sleep(for: Self.retryPause)
                }
                self.resumeWaiting()
            }
        }
    }

    private func repeatNewest() async {
        for pause in Self.repeats {
            guard (try? await Task.sleep(for: pause)) != nil else { return }
            if self.state.withLock({ $0.machine.repeatNewest() }) { self.wakeUp.yield() }
        }
    }

    // MARK: Queries

    /// What to register for routers that ask.
    package var queryEndpoint: EndpointID { self.configuration.queryEndpoint }

    /// Answers a router.
    package func answer(_ query: KVQuery) -> KVQueryAnswer {
        switch self.state.withLock({ $0.machine.answer(query) }) {
        case .answer(let answer): return answer
        case .dump(let blocks, let last):
            let changes = blocks.stores(upTo: self.configuration.blocksPerEvent)
            let events = changes.enumerated().map { index, change in
                // The ids of a dump mean nothing; Dynamo counts from 0 too.
                RouterEvent(
                    worker: self.configuration.worker,
                    event: KVEvent(id: UInt64(index), rank: self.configuration.rank, change: change)
                )
            }
            return .state(events, last: last)
        }
    }

    /// Serves the query endpoint.
    package var queryHandler: RequestHandler { self.queryHandler(self.configuration.form) }

    /// Serves the query endpoint of routers of one release.
    package func queryHandler(_ form: DynamoEventForm) -> RequestHandler {
        { request in
            let answer: KVQueryAnswer
            do { answer = self.answer(try KVQuery(request.payload)) } catch {
                answer = .error("the query cannot be read: \(error)")
            }
            let item = ResponseItem.bare(answer.json(form))
            return AsyncThrowingStream { continuation in
                continuation.yield(item)
                continuation.finish()
            }
        }
    }
}
