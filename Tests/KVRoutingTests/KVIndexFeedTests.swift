import Discovery
import KVEvents
import KVRouter
import KVRouting
import Logging
import NATS
import RequestPlane
import TestSupport
import Testing

/// Publishers, discovery and a feed around a real NATS server.
@Suite struct KVIndexFeedTests {
    static let endpoint = EndpointID(namespace: "dynamo", component: "backend", name: "generate")

    /// A worker that stores blocks and tells of them.
    struct Worker: Sendable {
        let discovery: InMemoryDiscovery
        let publisher: KVEventPublisher
        let rank: WorkerRank

        /// Stores a chain of blocks whose hashes nobody else has.
        func store(_ chain: UInt64, blocks: Int) async {
            let first = self.rank.worker << 40 | chain << 20
            let all = (0..<UInt64(blocks)).map { number in
                StoredBlock(block: BlockHash(rawValue: first | number), tokens: TokensHash(rawValue: first | number))
            }
            while self.publisher.publish(.stored(parent: nil, blocks: all)) == .wait {
                await self.publisher.waitForRoom()
            }
        }

        func tokens(_ chain: UInt64) -> [TokensHash] { [TokensHash(rawValue: self.rank.worker << 40 | chain << 20)] }
    }

    struct Setting: Sendable {
        let workers: [Worker]
        let feed: KVIndexFeed
        /// Follows discovery and receives from here on.
        let start: @Sendable () -> Void
    }

    /// Calls each worker on a plane of its own, as if they were processes.
    struct Callers: RequestPlaneClient {
        let planes: [InstanceID: InProcessPlane]

        func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
            guard let plane = self.planes[instance.id] else {
                throw RequestPlaneError(.connectFailed, "nobody is there")
            }
            return try await plane.client.send(request, to: instance)
        }
    }

    private func withSetting(_ server: NATSServerFixture, _ body: (Setting) async throws -> Void) async throws {
        let logger = Logger(label: "test")
        var configuration = NATSConfiguration(servers: [NATSServerAddress(host: "127.0.0.1", port: server.port)])
        configuration.reconnectDelay = .milliseconds(20)
        configuration.maximumReconnectDelay = .milliseconds(200)
        let planes = [
            try await NATSEventPlane.connect(configuration, logger: logger),
            try await NATSEventPlane.connect(configuration, logger: logger),
        ]
        let store = InMemoryDiscovery.Store()
        var requests: [InstanceID: InProcessPlane] = [:]
        var workers: [Worker] = []
        for number in [UInt64(11), 12] {
            let publisher = planes[0].publisher(
                PublisherConfiguration(form: .release12, endpoint: Self.endpoint, worker: number)
            )
            let id = InstanceID(rawValue: number)
            let served = InProcessPlane()
            requests[id] = served
            let address = try await served.server.register(
                publisher.queryEndpoint,
                id: id,
                handler: publisher.queryHandler
            )
            let discovery = InMemoryDiscovery(store: store, instanceID: id)
            let instance = Instance(endpoint: publisher.queryEndpoint, id: id, transport: address)
            discovery.publish([.instance(InstanceRecord(instance))])
            workers.append(Worker(discovery: discovery, publisher: publisher, rank: WorkerRank(worker: number)))
        }
        let feed = KVIndexFeed(of: Self.endpoint, plane: planes[1], client: Callers(planes: requests), logger: logger)
        let ours = InMemoryDiscovery(store: store)
        let (started, start) = AsyncStream.makeStream(of: Void.self)
        let all = workers
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in all { group.addTask { await worker.publisher.run() } }
            for plane in requests.values { group.addTask { try await plane.server.run() } }
            group.addTask { try await ours.run() }
            group.addTask {
                for await _ in started {}
                if !Task.isCancelled { try await feed.run(ours.watch(.all)) }
            }
            try await body(Setting(workers: all, feed: feed) { start.finish() })
            group.cancelAll()
            while await group.nextResult() != nil {}
        }
        for plane in planes { await plane.close() }
    }

    @Test
    func `a feed that starts late has everything before it is caught up, hears what follows, and forgets who left`()
        async throws
    {
        try await NATSServerFixture.run { server in
            try await self.withSetting(server) { setting in
                let (first, second) = (setting.workers[0], setting.workers[1])
                for chain in 0..<50 { await first.store(UInt64(chain), blocks: 4) }
                await second.store(0, blocks: 7)
                #expect(!setting.feed.isCaughtUp)
                setting.start()
                try await eventually("the feed has caught up") { setting.feed.isCaughtUp }
                #expect(setting.feed.status.blocks == [first.rank: 200, second.rank: 7])
                #expect(setting.feed.overlaps(first.tokens(3)) == [first.rank: Overlap(device: 1)])

                await first.store(50, blocks: 3)
                try await eventually("a live event arrives") {
                    !setting.feed.overlaps(first.tokens(50)).isEmpty
                }
                #expect(setting.feed.status.index.gaps == 0)

                first.discovery.withdraw()
                try await eventually("its blocks are forgotten") {
                    setting.feed.status.blocks == [second.rank: 7] && setting.feed.overlaps(first.tokens(3)).isEmpty
                }
            }
        }
    }

    @Test func `what is published while the server is away is there when it is back`() async throws {
        try await NATSServerFixture.run { server in
            try await self.withSetting(server) { setting in
                let worker = setting.workers[0]
                setting.start()
                try await eventually("the feed has caught up") { setting.feed.isCaughtUp }
                await worker.store(0, blocks: 2)
                try await eventually("events arrive") { setting.feed.status.blocks[worker.rank] == 2 }
                server.process.send(9)
                try await server.process.waitForExit()
                for chain in 1..<40 { await worker.store(UInt64(chain), blocks: 5) }
                try await NATSServerFixture.run(port: server.port) { _ in
                    try await eventually(within: .seconds(20), "the feed has the truth") {
                        setting.feed.isCaughtUp && setting.feed.status.blocks[worker.rank] == 197
                    }
                }
            }
        }
    }

    @Test func `a worker that cannot be asked is given up, and does not hold up the others`() async throws {
        try await NATSServerFixture.run { server in
            try await self.withSetting(server) { setting in
                await setting.workers[0].store(0, blocks: 2)
                let dead = InstanceID(rawValue: 99)
                let instance = Instance(
                    endpoint: setting.workers[0].publisher.queryEndpoint,
                    id: dead,
                    transport: .tcp("127.0.0.1:1/99/x")
                )
                setting.workers[1].discovery.publish([.instance(InstanceRecord(instance))])
                setting.start()
                try await eventually("the others have told") {
                    setting.feed.status.blocks[setting.workers[0].rank] == 2
                }
                try await eventually(within: .seconds(60), "it is given up") { setting.feed.isCaughtUp }
                #expect(setting.feed.status.index.failures == 1)
            }
        }
    }
}
