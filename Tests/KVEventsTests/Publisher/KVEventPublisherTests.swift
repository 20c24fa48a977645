import KVEvents
import KVRouter
import Logging
import NATS
import NIOCore
import RequestPlane
import Synchronization
import TestSupport
import Testing

@Suite struct KVEventPublisherTests {
    static let endpoint = EndpointID(namespace: "dynamo", component: "backend", name: "generate")

    /// Publisher, subscriber and query plane around one server.
    struct Plane: Sendable {
        var publisher: KVEventPublisher
        var router: SmallRouter
        var subscriber: KVEventSubscriber
    }

    func connect(_ server: NATSServerFixture) async throws -> NATSConnection {
        var configuration = NATSConfiguration(servers: [NATSServerAddress(host: "127.0.0.1", port: server.port)])
        configuration.reconnectDelay = .milliseconds(20)
        configuration.maximumReconnectDelay = .milliseconds(200)
        return try await NATSConnection.connect(configuration, logger: Logger(label: "test"))
    }

    func withPlane(
        _ server: NATSServerFixture,
        _ form: DynamoEventForm,
        _ body: (Plane) async throws -> Void
    ) async throws {
        let logger = Logger(label: "test")
        let ours = try await self.connect(server)
        let theirs = try await self.connect(server)
        let requests = InProcessPlane()
        var configuration = PublisherConfiguration(form: form, endpoint: Self.endpoint, worker: .max - 5)
        configuration.maximumQueuedEvents = 500
        configuration.recentEvents = 100
        let publisher = KVEventPublisher(configuration, connection: ours, logger: logger)
        let id = InstanceID(rawValue: configuration.worker)
        let address = try await requests.server.register(
            publisher.queryEndpoint,
            id: id,
            handler: publisher.queryHandler
        )
        let router = SmallRouter(
            requests.client,
            form: form,
            worker: WorkerRank(worker: configuration.worker),
            at: Instance(endpoint: publisher.queryEndpoint, id: id, transport: address)
        )
        let subscriber = KVEventSubscriber(theirs, form: form, endpoint: Self.endpoint, logger: logger) { events, _ in
            router.receive(events)
        }
        let ready = ReadyFlag()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await publisher.run() }
            group.addTask { try await subscriber.run { ready.set() } }
            group.addTask { try await requests.server.run() }
            group.addTask { try await router.run() }
            try await eventually("the router listens") { ready.isSet }
            try await body(Plane(publisher: publisher, router: router, subscriber: subscriber))
            group.cancelAll()
            while await group.nextResult() != nil {}
        }
        await ours.close()
        await theirs.close()
    }

    @Test(arguments: DynamoEventForm.allCases)
    func `A router knows what the worker holds`(form: DynamoEventForm) async throws {
        try await NATSServerFixture.run { server in
            try await self.withPlane(server, form) { plane in
                var work = CacheWork(seed: 1)
                for _ in 0..<2000 where plane.publisher.publish(work.step()) == .wait {
                    await plane.publisher.waitForRoom()
                }
                let truth = work.blocks
                try await eventually("the router has all blocks") { plane.router.blocks == truth }
                #expect(plane.publisher.blockCount == truth.count)
                #expect(plane.publisher.statistics.resyncs == 0)
                #expect(plane.subscriber.statistics.events == 2000)
                #expect(plane.subscriber.statistics.refused == 0)
            }
        }
    }

    @Test func `A server that is killed under load costs a resync, and no truth`() async throws {
        try await NATSServerFixture.run { server in
            try await self.withPlane(server, .release12) { plane in
                let engine = Engine(plane.publisher)
                async let work: Void = engine.run()
                try await eventually("events arrive") { plane.router.lastID > 1000 }
                server.process.send(9)
                try await server.process.waitForExit()
                let count = plane.publisher.statistics.changes
                try await eventually("the engine goes on") { plane.publisher.statistics.changes > count + 2000 }
                try await NATSServerFixture.run(port: server.port) { _ in
                    try await eventually("a resync") { plane.publisher.statistics.resyncs > 0 }
                    let id = plane.router.lastID
                    try await eventually("events arrive again") { plane.router.lastID > id + 1000 }
                    engine.stop()
                    try await eventually("the engine stops") { engine.hasEnded }
                    let truth = engine.blocks
                    #expect(!truth.isEmpty)
                    try await eventually("the router has the truth") { plane.router.blocks == truth }
                }
                await work
            }
        }
    }

    @Test func `What was sent before the sink was full is not sent again`() async throws {
        let sink = FullSink()
        let configuration = PublisherConfiguration(form: .release12, endpoint: Self.endpoint, worker: 1)
        let publisher = KVEventPublisher(configuration, sink: sink, logger: Logger(label: "test"))
        for number in 0..<10 {
            let hash = UInt64(number)
            publisher.stored(
                [StoredBlock(block: BlockHash(rawValue: hash), tokens: TokensHash(rawValue: hash))],
                after: nil
            )
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await publisher.run() }
            group.addTask { try? await eventually("all are sent") { sink.sent.value.count >= 10 } }
            await group.next()
            group.cancelAll()
        }
        #expect(sink.sent.value == Array(1...10))
        #expect(publisher.statistics.sent == 10)
    }

    @Test func `A channel says how many it has taken`() async throws {
        try await NATSServerFixture.run { server in
            let connection = try await self.connect(server)
            let channel = EventChannel(.events, .release12, of: Self.endpoint, publisher: 1, connection: connection)
            let event = RouterEvent(worker: 1, event: KVEvent(id: 1, rank: 0, change: .cleared))
            try await EventChannelSink(channel).send([event, event])
            await connection.close()
            await #expect {
                try await EventChannelSink(channel).send([event, event])
            } throws: { error in
                (error as? SentInPart)?.count == 0
            }
        }
    }

    @Test func `A query that cannot be read is answered all the same`() async throws {
        let configuration = PublisherConfiguration(form: .release12, endpoint: Self.endpoint, worker: 1)
        let publisher = KVEventPublisher(configuration, sink: NoSink(), logger: Logger(label: "test"))
        #expect(publisher.queryEndpoint.name == "worker_kv_indexer_query_dp0")
        let request = IncomingRequest(id: "1", endpoint: publisher.queryEndpoint, payload: ByteBuffer(string: "[]"))
        var items: [ResponseItem] = []
        for try await item in try await publisher.queryHandler(request) { items.append(item) }
        guard case .bare(let body)? = items.first else { Issue.record("not bare: \(items)"); return }
        #expect(items.count == 1)
        guard case .error = try KVQueryAnswer(body) else { Issue.record("no error"); return }
    }
}

/// Takes two events at a time, and is full then.
private struct FullSink: KVEventSink {
    let sent = Recorded<[UInt64]>([])

    func send(_ events: [RouterEvent]) async throws {
        self.sent.value += events.prefix(2).map(\.event.id)
        if events.count > 2 { throw SentInPart(count: 2, reason: CancellationError()) }
    }

    func linkChanges() -> any AsyncSequence<Bool, Never> & Sendable { AsyncStream { _ in } }
}

/// Set once, seen by other tasks.
final class ReadyFlag: Sendable {
    private let flag = Atomic(false)
    var isSet: Bool { self.flag.load(ordering: .acquiring) }
    func set() { self.flag.store(true, ordering: .releasing) }
}

/// Works until it is told to stop.
final class Engine: Sendable {
    private let publisher: KVEventPublisher
    private let work = Mutex(CacheWork(seed: 7))
    private let stopped = ReadyFlag()
    private let ended = ReadyFlag()

    init(_ publisher: KVEventPublisher) { self.publisher = publisher }

    var blocks: [BlockHash: StoredBlock] { self.work.withLock { $0.blocks } }

    var hasEnded: Bool { self.ended.isSet }

    func stop() { self.stopped.set() }

    @concurrent func run() async {
        while !self.stopped.isSet, !Task.isCancelled {
            let change = self.work.withLock { $0.step() }
            if self.publisher.publish(change) == .wait { await self.publisher.waitForRoom() }
            await Task.yield()
        }
        self.ended.set()
    }
}
