import KVRouter
import Logging
import NATS
import NIOCore
import RequestPlane
import Synchronization
import TestSupport
import Testing

@testable import KVEvents

/// A publisher whose events a stream keeps, with real servers.
@Suite struct DurableSinkTests {
    static let endpoint = EndpointID(namespace: "n", component: "c", name: "generate")

    private func withPublisher(
        _ server: NATSServerFixture,
        _ body: (KVEventPublisher, DurableEventStream) async throws -> Void
    ) async throws {
        let ours = try await KVEventPublisherTests().connect(server)
        let theirs = try await KVEventPublisherTests().connect(server)
        let stream = DurableEventStream(JetStream(theirs), namespace: "n", component: "c")
        try await DurableEventStream(JetStream(ours), namespace: "n", component: "c").create()
        var configuration = PublisherConfiguration(form: .release12, endpoint: Self.endpoint, worker: 7)
        configuration.mode = .durable
        configuration.maximumQueuedEvents = 500
        let own = DurableEventStream(JetStream(ours), namespace: "n", component: "c")
        let publisher = KVEventPublisher(configuration, sink: DurableSink(own), logger: Logger(label: "test"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await publisher.run() }
            try await body(publisher, stream)
            group.cancelAll()
        }
        await ours.close()
        await theirs.close()
    }

    /// All that the stream holds.
    private func events(of stream: DurableEventStream) async throws -> [RouterEvent] {
        let state = try await stream.jetStream.stream(stream.name).state
        var events: [RouterEvent] = []
        guard state.messages > 0 else { return [] }
        for sequence in state.firstSequence...state.lastSequence {
            let message = try await stream.jetStream.read(
                .next(subject: stream.subject, from: sequence),
                from: stream.name,
                isDirect: false
            )
            #expect(message.subject == stream.subject)
            events.append(try RouterEventJSON.read(message.payload))
        }
        return events
    }

    /// What a router that only reads the stream believes.
    private func blocks(_ events: [RouterEvent]) -> Set<BlockHash> {
        var present = PresentBlocks()
        for event in events { present.apply(event.event.change) }
        return Set(
            present.stores(upTo: 1).flatMap { change -> [BlockHash] in
                guard case .stored(_, let blocks) = change else { return [] }
                return blocks.map(\.block)
            }
        )
    }

    @Test func `every event is stored once and in order`() async throws {
        try await withTemporaryDirectory { directory in
            try await NATSServerFixture.run(configuration: NATSServerFixture.jetStream(in: directory)) { server in
                try await self.withPublisher(server) { publisher, stream in
                    var work = CacheWork(seed: 3)
                    for _ in 0..<300 where publisher.publish(work.step()) == .wait { await publisher.waitForRoom() }
                    try await eventually("all is stored") {
                        try await stream.jetStream.stream(stream.name).state.messages == 300
                    }
                    let events = try await self.events(of: stream)
                    #expect(events.map(\.event.id) == Array(1...300))
                    #expect(events.allSatisfy { $0.worker == 7 })
                    #expect(self.blocks(events) == Set(work.blocks.keys))
                }
            }
        }
    }

    @Test func `a server that is killed under load loses nothing, and nothing is repeated`() async throws {
        try await withTemporaryDirectory { directory in
            let configuration = NATSServerFixture.jetStream(in: directory)
            try await NATSServerFixture.run(configuration: configuration) { server in
                try await self.withPublisher(server) { publisher, stream in
                    for number in 1...200 { publisher.removed([BlockHash(rawValue: UInt64(number))]) }
                    try await eventually("some are stored") {
                        try await stream.jetStream.stream(stream.name).state.messages > 20
                    }
                    server.process.send(9)
                    try await server.process.waitForExit()
                    for number in 201...400 { publisher.removed([BlockHash(rawValue: UInt64(number))]) }
                    try await NATSServerFixture.run(port: server.port, configuration: configuration) { _ in
                        try await eventually(within: .seconds(20), "all is stored") {
                            (try? await stream.jetStream.stream(stream.name).state.messages) ?? 0 >= 400
                        }
                        // Longer than a publisher without a stream waits before it repeats its newest event.
                        try await Task.sleep(for: .milliseconds(1200))
                        let events = try await self.events(of: stream)
                        #expect(events.map(\.event.id) == Array(1...400))
                        #expect(publisher.statistics.repeated == 0)
                        #expect(publisher.statistics.resyncs == 0)
                    }
                }
            }
        }
    }

    @Test func `a stream that is gone is made again, with everything that the cache holds`() async throws {
        try await withTemporaryDirectory { directory in
            try await NATSServerFixture.run(configuration: NATSServerFixture.jetStream(in: directory)) { server in
                try await self.withPublisher(server) { publisher, stream in
                    let blocks = (1...5).map {
                        StoredBlock(block: .init(rawValue: $0), tokens: .init(rawValue: $0 + 100))
                    }
                    publisher.stored(blocks, after: nil)
                    try await eventually("it is stored") {
                        try await stream.jetStream.stream(stream.name).state.messages == 1
                    }
                    try await stream.jetStream.deleteStream(stream.name)
                    publisher.removed([BlockHash(rawValue: 5)])
                    try await eventually("a resync") {
                        (try? await stream.jetStream.stream(stream.name).state.messages) ?? 0 >= 2
                    }
                    let events = try await self.events(of: stream)
                    #expect(events.first?.event.change == .cleared)
                    #expect(self.blocks(events) == Set((1...4).map { BlockHash(rawValue: $0) }))
                    #expect(publisher.statistics.resyncs == 1)
                }
            }
        }
    }

    @Test func `a server without JetStream is an error that says what to do`() async throws {
        try await NATSServerFixture.run { server in
            let connection = try await KVEventPublisherTests().connect(server)
            let stream = DurableEventStream(
                JetStream(connection, attempts: 2, retryDelay: .milliseconds(10)),
                namespace: "n",
                component: "c"
            )
            let error = await #expect(throws: JetStreamError.self) { try await stream.create() }
            #expect(error?.description.contains("-js") == true, "\(String(describing: error))")
            await connection.close()
        }
    }
}
