import Discovery
import Foundation
import KVEvents
import KVRouter
import KVRouting
import Logging
import NATS
import NIOCore
import RequestPlane
import Synchronization
import TestSupport
import Testing

/// An index that follows two of our worker processes under load, while the plane or a process breaks: it ends with what they hold,
/// compared block by block.
@Suite("An index while things break", .serialized, .timeLimit(.minutes(2)))
struct IndexFaultTests {
    /// So few blocks that prompts are evicted all the time.
    static let worker = ["--num-blocks", "200", "--speedup", "20"]

    private static func configuration(_ port: Int) -> NATSConfiguration {
        var configuration = NATSConfiguration(servers: [NATSServerAddress(host: "127.0.0.1", port: port)])
        configuration.reconnectDelay = .milliseconds(20)
        configuration.maximumReconnectDelay = .milliseconds(200)
        return configuration
    }

    private func withWorkers(
        nats: String,
        feeding port: Int? = nil,
        _ body: (RoutedPlace, RunningProgram) async throws -> Void
    ) async throws {
        try await RoutedPlace.run(nats: nats) { place in
            try await place.withWorker(Self.worker) { first in
                try await place.withWorker(Self.worker) { _ in
                    try await eventually(within: .seconds(20), "both workers are there") {
                        try await place.instances(IndexLoad.endpoint).count == 2
                    }
                    try await body(place, first)
                }
            }
        }
    }

    /// Runs a feed, as a router does, until the body returns.
    private func withFeed<Value: Sendable>(
        _ place: RoutedPlace,
        _ port: Int,
        _ body: (IndexComparison) async throws -> Value
    ) async throws -> Value {
        let logger = Logger(label: "feed") { _ in SwiftLogNoOpLogHandler() }
        let plane = try await NATSEventPlane.connect(Self.configuration(port), logger: logger)
        let feed = KVIndexFeed(of: IndexLoad.endpoint, plane: plane, client: place.client, logger: logger)
        let discovery = place.discovery
        let value = try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await discovery.run() }
            group.addTask { try await feed.run(discovery.watch(.all)) }
            defer { group.cancelAll() }
            return try await body(IndexComparison(place: place, feed: feed))
        }
        await plane.close()
        return value
    }

    @Test func `a NATS server is killed and comes back`() async throws {
        try await NATSServerFixture.run { server in
            try await self.withWorkers(nats: server.url) { place, _ in
                try await self.withFeed(place, server.port) { comparison in
                    let load = IndexLoad(place: place)
                    try await load.during { try await Task.sleep(for: .seconds(1)) }
                    #expect(try await comparison.waitUntilTrue() > 200)
                    try await load.during {
                        try await Task.sleep(for: .milliseconds(300))
                        server.process.send(SIGKILL)
                        try await server.process.waitForExit()
                        // Some hundred events that nobody hears.
                        try await Task.sleep(for: .seconds(1))
                    }
                    try await NATSServerFixture.run(port: server.port) { _ in
                        #expect(try await comparison.waitUntilTrue() > 200)
                        try await load.during { try await Task.sleep(for: .milliseconds(500)) }
                        try await comparison.waitUntilTrue()
                    }
                }
            }
        }
    }

    @Test func `a router is killed under load, and one that starts in its place has the truth`() async throws {
        try await NATSServerFixture.run { server in
            try await self.withWorkers(nats: server.url) { place, _ in
                let load = IndexLoad(place: place)
                try await load.during {
                    for _ in 0..<2 {
                        try await self.withFeed(place, server.port) { comparison in
                            try await eventually("it has caught up") { comparison.feed.isCaughtUp }
                            try await Task.sleep(for: .milliseconds(300))
                        }
                    }
                    try await self.withFeed(place, server.port) { comparison in
                        try await eventually("it has caught up") { comparison.feed.isCaughtUp }
                    }
                }
                try await self.withFeed(place, server.port) { comparison in
                    #expect(try await comparison.waitUntilTrue() > 200)
                    try await load.during { try await Task.sleep(for: .milliseconds(500)) }
                    try await comparison.waitUntilTrue()
                }
            }
        }
    }

    @Test func `a worker is killed under load, and another takes its place`() async throws {
        try await NATSServerFixture.run { server in
            try await self.withWorkers(nats: server.url) { place, first in
                try await self.withFeed(place, server.port) { comparison in
                    let load = IndexLoad(place: place)
                    try await load.during { try await Task.sleep(for: .seconds(1)) }
                    let before = try await comparison.ranks()
                    try await load.during {
                        first.send(SIGKILL)
                        try await place.withWorker(Self.worker) { _ in
                            // Its records live on until their lease is over.
                            try await eventually(within: .seconds(25), "the killed one is forgotten") {
                                let now = try await comparison.ranks()
                                return now.count == 2 && now.keys.contains { before[$0] == nil }
                            }
                            try await Task.sleep(for: .seconds(1))
                        }
                    }
                    // The third has left in an orderly way; the second is what there is.
                    #expect(try await comparison.waitUntilTrue(workers: 1) > 100)
                }
            }
        }
    }

    @Test func `messages are lost, repeated and come in another order`() async throws {
        try await NATSServerFixture.run { workers in
            try await NATSServerFixture.run { routers in
                try await self.withWorkers(nats: workers.url) { place, _ in
                    try await self.withChaos(from: workers.port, to: routers.port) { chaos in
                        try await self.withFeed(place, routers.port) { comparison in
                            let load = IndexLoad(place: place)
                            try await load.during { try await Task.sleep(for: .seconds(3)) }
                            let status = comparison.feed.status
                            #expect(status.index.gaps > 5, "\(status)")
                            #expect(status.index.duplicates > 5, "\(status)")
                            chaos.calm()
                            // What was lost last shows by what comes next.
                            try await load.during { try await Task.sleep(for: .milliseconds(500)) }
                            #expect(try await comparison.waitUntilTrue() > 200)
                        }
                    }
                }
            }
        }
    }

    @Test func `ids that no worker has given out do not stay in the way`() async throws {
        try await NATSServerFixture.run { server in
            try await self.withWorkers(nats: server.url) { place, _ in
                try await self.withFeed(place, server.port) { comparison in
                    let load = IndexLoad(place: place)
                    try await load.during { try await Task.sleep(for: .milliseconds(500)) }
                    let connection = try await NATSConnection.connect(
                        Self.configuration(server.port),
                        logger: Logger(label: "forger")
                    )
                    try await load.during {
                        for (number, rank) in try await comparison.ranks().keys.sorted().enumerated() {
                            for jump in [UInt64(100_000), 200_000] {
                                try connection.publish(
                                    DynamoEventForm.release12.subject(.events, of: IndexLoad.endpoint),
                                    payload: Self.forged(rank, id: jump + UInt64(number))
                                )
                                try await Task.sleep(for: .milliseconds(200))
                            }
                        }
                    }
                    await connection.close()
                    try await load.during { try await Task.sleep(for: .milliseconds(300)) }
                    try await comparison.waitUntilTrue(within: .seconds(10))
                }
            }
        }
    }

    @Test func `a NATS server with a durable stream is killed and comes back`() async throws {
        let ports = [try freePort(), try freePort()]
        // Nothing is evicted: a worker's cache is asked by sending it the prompts again.
        let options = ["--num-blocks", "8192", "--speedup", "20", "--durable-kv-events"]
        func system(_ port: Int) -> [String: String] { ["DYN_SYSTEM_PORT": "\(port)", "DYN_SYSTEM_HOST": "127.0.0.1"] }
        try await withTemporaryDirectory { folder in
            let storage = NATSServerFixture.jetStream(in: folder)
            try await NATSServerFixture.run(configuration: storage) { server in
                try await RoutedPlace.run(nats: server.url) { place in
                    try await place.withWorker(options, environment: system(ports[0])) { _ in
                        try await eventually(within: .seconds(20), "the first worker is there") {
                            try await place.instances(IndexLoad.endpoint).count == 1
                        }
                        let first = try await place.instances(IndexLoad.endpoint)
                        try await place.withWorker(options, environment: system(ports[1])) { _ in
                            try await eventually(within: .seconds(20), "both workers are there") {
                                try await place.instances(IndexLoad.endpoint).count == 2
                            }
                            let all = try await place.instances(IndexLoad.endpoint)
                            let workers = all.map { ($0, ports[first.contains($0) ? 0 : 1]) }
                            try await self.withDurableFeed(place, server.port) { feed in
                                try await IndexLoad(place: place).during { try await Task.sleep(for: .seconds(1)) }
                                try await IndexLoad(place: place, numbers: 60..<100).during {
                                    server.process.send(SIGKILL)
                                    try await server.process.waitForExit()
                                    try await Task.sleep(for: .seconds(1))
                                }
                                try await NATSServerFixture.run(port: server.port, configuration: storage) { _ in
                                    let load = IndexLoad(place: place, numbers: 100..<120)
                                    try await load.during { try await Task.sleep(for: .milliseconds(500)) }
                                    try await self.expectTruth(place, feed, workers)
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    private func withDurableFeed(
        _ place: RoutedPlace,
        _ port: Int,
        _ body: (DurableIndexFeed) async throws -> Void
    ) async throws {
        let logger = Logger(label: "feed") { _ in SwiftLogNoOpLogHandler() }
        let plane = try await NATSEventPlane.connect(Self.configuration(port), logger: logger)
        let feed = DurableIndexFeed(
            of: IndexLoad.endpoint,
            stream: plane.durableStream(of: IndexLoad.endpoint),
            router: 77,
            settings: .init(),
            logger: logger
        )
        let discovery = place.discovery
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await discovery.run() }
            group.addTask { try await feed.run(discovery.watch(.all)) }
            try await eventually("it has caught up") { feed.isCaughtUp }
            try await body(feed)
            group.cancelAll()
        }
        await plane.close()
    }

    /// Compares with what the engines find in their caches.
    private func expectTruth(
        _ place: RoutedPlace,
        _ feed: DurableIndexFeed,
        _ workers: [(Instance, Int)]
    ) async throws {
        var counts: [WorkerRank: Int] = [:]
        try await eventually(within: .seconds(15), "nothing more comes") {
            let now = feed.blockCounts
            defer { counts = now }
            try await Task.sleep(for: .milliseconds(500))
            return now == counts && now.count == 2
        }
        var held = 0
        for (worker, port) in workers {
            func hits() async throws -> Int {
                let text = try await HTTPRequests.get("http://127.0.0.1:\(port)/metrics").text
                let line = text.split(separator: "\n").first { $0.hasPrefix("dynamo_worker_kv_hit_blocks_total{") }
                return line?.split(separator: " ").last.flatMap { Int($0) } ?? 0
            }
            var known: [Int] = []
            var found: [Int] = []
            for number in 0..<120 {
                // Longer than its full blocks, so that each of these can be found.
                let prompt = RoutedPlace.prompt(number, blocks: 8) + [1, 2, 3]
                let hashes = BlockHashing(blockSize: 16).hashes(prompt.map { UInt32($0) })
                known.append(feed.overlaps(hashes)[WorkerRank(worker: worker.id.rawValue)]?.device ?? 0)
                let before = try await hits()
                let body = #"{"model":"mock","token_ids":\#(prompt),"stop_conditions":{"max_tokens":1}}"#
                let request = OutgoingRequest(id: "truth-\(port)-\(number)", payload: ByteBuffer(string: body))
                for try await _ in try await place.client.send(request, to: worker) {}
                found.append(try await hits() - before)
            }
            #expect(known == found, "\(worker.id): what the index says of each prompt, and what the engine finds")
            held += found.reduce(0, +)
        }
        #expect(held > 800, "most prompts are on both: \(held)")
    }

    /// An event about a block that the worker does not have.
    private static func forged(_ rank: WorkerRank, id: UInt64) -> ByteBuffer {
        let block = StoredBlock(block: BlockHash(rawValue: id), tokens: TokensHash(rawValue: id))
        let event = RouterEvent(
            worker: rank.worker,
            event: KVEvent(id: id, rank: rank.rank, change: .stored(parent: nil, blocks: [block]))
        )
        var payload = ByteBuffer()
        payload.writeRouterEvents([event], form: .release12)
        var message = ByteBuffer()
        message.writeEventEnvelope(
            EventEnvelope(
                publisher: rank.worker,
                sequence: 0,
                publishedAt: 0,
                topic: KVEventTopic.events.rawValue,
                payload: payload
            )
        )
        return message
    }

    // MARK: Between two servers

    /// What happens to messages on their way.
    private final class Chaos: Sendable {
        private struct State {
            var generator = SeededNumbers(state: 7)
            var held: [ByteBuffer] = []
            var recent: [ByteBuffer] = []
            var isCalm = false
        }

        private let state = Mutex(State())

        func calm() { self.state.withLock { $0.isCalm = true } }

        /// The messages that go on now.
        func pass(_ message: ByteBuffer) -> [ByteBuffer] {
            self.state.withLock { state in
                if state.isCalm {
                    defer { state.held = [] }
                    return state.held + [message]
                }
                state.recent.append(message)
                if state.recent.count > 50 { state.recent.removeFirst() }
                switch Int.random(in: 0..<100, using: &state.generator) {
                case ..<3: return []
                case ..<10: return [message, message]
                case ..<20:
                    state.held.append(message)
                    return []
                case ..<30:
                    // Later than those that came after them.
                    defer { state.held = [] }
                    return [message] + state.held.reversed()
                case ..<35: return [message, state.recent[0]]
                default: return [message]
                }
            }
        }
    }

    private func withChaos(
        from source: Int,
        to target: Int,
        _ body: (Chaos) async throws -> Void
    ) async throws {
        let logger = Logger(label: "chaos") { _ in SwiftLogNoOpLogHandler() }
        let chaos = Chaos()
        let incoming = try await NATSConnection.connect(Self.configuration(source), logger: logger)
        let outgoing = try await NATSConnection.connect(Self.configuration(target), logger: logger)
        let subject = DynamoEventForm.release12.subject(.events, of: IndexLoad.endpoint)
        let subscription = try await incoming.subscribe(subject) { _ in
        } handler: { message in
            for next in chaos.pass(message.payload) { try? outgoing.publish(subject, payload: next) }
            return .more
        }
        try await body(chaos)
        subscription.unsubscribe()
        await incoming.close()
        await outgoing.close()
    }
}
