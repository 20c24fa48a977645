import KVRouter
import Logging
import NATS
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import KVEvents

@Suite struct DurableEventTests {
    private func withStream(_ body: (DurableEventStream) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            try await NATSServerFixture.run(configuration: NATSServerFixture.jetStream(in: directory)) { server in
                let configuration = NATSConfiguration(servers: [.init(host: "127.0.0.1", port: server.port)])
                let connection = try await NATSConnection.connect(configuration, logger: Logger(label: "test"))
                let stream = DurableEventStream(JetStream(connection), namespace: "n", component: "c")
                let result: Result<Void, any Error>
                do { result = .success(try await body(stream)) } catch { result = .failure(error) }
                await connection.close()
                try result.get()
            }
        }
    }

    private func event(_ id: UInt64) -> RouterEvent {
        RouterEvent(worker: 5, event: KVEvent(id: id, change: .removed([BlockHash(rawValue: id)])))
    }

    @Test func `names are those of the contract`() async throws {
        try await self.withStream { stream in
            #expect(stream.name == "namespace-n-component-c-kv-events")
            #expect(stream.subject == "namespace-n-component-c-kv-events.kv-events")
            #expect(stream.bucket == "namespace-n-component-c-radix-bucket")
            try await stream.create()
            let configuration = try await stream.jetStream.stream(stream.name).configuration
            #expect(configuration.subjects == ["namespace-n-component-c-kv-events.*"])
            #expect(configuration.age == .seconds(3600) && configuration.storage == .file)
        }
    }

    @Test func `a router gets all events, writes snapshots, and leaves nothing but them behind`() async throws {
        try await self.withStream { stream in
            try await stream.create()
            #expect(try await stream.snapshot() == nil)
            let applied = Mutex<[UInt64]>([])
            let reader = DurableEventReader(stream, router: 99, snapshotThreshold: 5, logger: Logger(label: "test"))
            let running = Task {
                try await reader.run { event in
                    applied.withLock { $0.append(event.event.id) }
                } snapshot: {
                    applied.withLock { $0.map { UInt8($0) } }
                }
            }
            let publisher = JetStreamPublisher(stream.jetStream)
            for id in 1...4 { try await publisher.publish(stream.message(self.event(UInt64(id)))) }
            // Somebody writes nonsense.
            try await publisher.publish(.init(subject: "\(stream.name).x", payload: ByteBuffer(string: "nonsense")))
            for id in 5...14 { try await publisher.publish(stream.message(self.event(UInt64(id)))) }
            try await publisher.flush()
            try await eventually("all is applied") { applied.withLock { $0.count } == 14 }
            try await eventually("a snapshot has replaced events") {
                try await stream.jetStream.stream(stream.name).state.messages <= 5
            }
            let snapshot = try #require(try await stream.snapshot())
            // What the snapshot lacks is still in the stream.
            let first = try await stream.jetStream.stream(stream.name).state.firstSequence
            #expect(snapshot == Array(1...UInt8(snapshot.count)) && UInt64(snapshot.count) >= first - 2)
            running.cancel()
            try await running.value
            #expect(try await stream.jetStream.consumerNames(of: stream.name).isEmpty)
            try await stream.reset()
            #expect(try await stream.snapshot() == nil)
            #expect(try await stream.jetStream.stream(stream.name).state.messages == 0)
        }
    }

    @Test func `events that another router has not applied stay`() async throws {
        try await self.withStream { stream in
            try await stream.create()
            let slow = try await stream.consumer(of: 1)
            let quick = try await stream.consumer(of: 2)
            let publisher = JetStreamPublisher(stream.jetStream)
            for id in 1...10 { try await publisher.publish(stream.message(self.event(UInt64(id)))) }
            try await publisher.flush()
            for message in try await quick.fetch(upTo: 10) { try await message.acknowledgeConfirmed() }
            for message in try await slow.fetch(upTo: 3) { try await message.acknowledgeConfirmed() }
            #expect(try await stream.compact(above: 10, router: 2) { [1] } == nil)
            #expect(try await stream.compact(above: 5, router: 2) { [1, 2, 3] } == 3)
            #expect(try await stream.jetStream.stream(stream.name).state.firstSequence == 4)
            #expect(try await stream.snapshot() == [1, 2, 3])
        }
    }
}
