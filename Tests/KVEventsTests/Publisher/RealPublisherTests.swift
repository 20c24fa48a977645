import Foundation
import KVEvents
import KVRouter
import Logging
import NATS
import NIOCore
import RequestPlane
import TestSupport
import Testing

/// Dynamo's own publisher and ours, side by side with the same blocks.
@Suite(.serialized) struct RealPublisherTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var peer: TestEnvironment.DynamoPeer
        var form: DynamoEventForm
        var isDurable = false
        var testDescription: String { "\(self.peer)\(self.isDurable ? ", durable" : "")" }
    }

    /// One thing that both publishers are told.
    struct Change {
        var tokens: [UInt32] = []
        var blocks: [Int64]
        var parent: Int64?
        var isRemoval = false

        var json: [String: Any] {
            if self.isRemoval { return ["removed": self.blocks] }
            let parent: Any = self.parent.map { $0 as Any } ?? NSNull()
            return ["stored": ["tokens": self.tokens, "blocks": self.blocks, "parent": parent]]
        }

        var ours: KVEvent.Change {
            let hash: (Int64) -> BlockHash = { BlockHash(rawValue: UInt64(bitPattern: $0)) }
            if self.isRemoval { return .removed(self.blocks.map(hash)) }
            let tokens = BlockHashing(blockSize: RealPublisherTests.blockSize).hashes(self.tokens)
            return .stored(
                parent: self.parent.map(hash),
                blocks: zip(self.blocks, tokens).map { StoredBlock(block: hash($0), tokens: $1) }
            )
        }

        static func stored(_ blocks: [Int64], after parent: Int64? = nil, tokens seed: UInt32) -> Change {
            let count = UInt32(blocks.count * RealPublisherTests.blockSize)
            return Change(tokens: (0..<count).map { $0 * 7 + seed }, blocks: blocks, parent: parent)
        }
    }

    static let blockSize = 4
    static let endpoint = EndpointID(namespace: "dynamo", component: "backend", name: "generate")
    static let cases = [
        Case(peer: .v121, form: .release12), Case(peer: .v161, form: .release16),
        Case(peer: .v121, form: .release12, isDurable: true),
    ]
    /// Short and long lists, small and large numbers, and engines with signed hashes.
    static let changes = [
        Change.stored([101, 102, -7], tokens: 0), .stored([5], after: 102, tokens: 90_000),
        .stored((1000..<1040).map { $0 }, after: -7, tokens: 4_000_000_000),
        .stored([Int64.max, Int64.min], tokens: 11), Change(blocks: [5], isRemoval: true),
        Change(blocks: (1010..<1040).reversed(), isRemoval: true), Change(blocks: [-7, 102, 101], isRemoval: true),
    ]

    @Test(arguments: cases)
    func `every published payload equals a real publisher's`(_ example: Case) async throws {
        try await withTemporaryDirectory { directory in
            let configuration = NATSServerFixture.jetStream(in: directory)
            try await NATSServerFixture.run(configuration: configuration) { server in
                let connection = try await KVEventPublisherTests().connect(server)
                let captured = Recorded<[NATSMessage]>([])
                _ = try await connection.subscribe(">") { message in
                    if message.subject.hasPrefix("namespace") { captured.value.append(message) }
                    return .more
                }
                try await connection.flush()
                try await self.runReal(example, server, directory, captured)
                let theirs = captured.value
                captured.value = []
                try await self.runOurs(example, connection, captured, theirs)
                let ours = captured.value
                try #require(theirs.count == Self.changes.count && ours.count == theirs.count)
                for (ours, theirs) in zip(ours, theirs) { try self.compare(ours, theirs, example) }
                await connection.close()
            }
        }
    }

    private func runReal(
        _ example: Case,
        _ server: NATSServerFixture,
        _ directory: URL,
        _ captured: Recorded<[NATSMessage]>
    ) async throws {
        let script = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fixtures/publisher.py").path()
        let changes = try JSONSerialization.data(withJSONObject: Self.changes.map(\.json))
        var arguments = [
            script, "dynamo.backend.generate", "\(Self.blockSize)", String(decoding: changes, as: UTF8.self),
        ]
        if example.isDurable { arguments.append("durable") }
        let environment: [String: String?] = [
            "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": directory.appending(path: "kv").path(),
            "DYN_REQUEST_PLANE": "tcp", "DYN_EVENT_PLANE": "nats", "NATS_SERVER": server.url, "DYN_NAMESPACE": nil,
            "DYN_TCP_RPC_HOST": "127.0.0.1",
        ]
        _ = try await withProgram(try TestEnvironment.python(example.peer), arguments, environment: environment) {
            program in
            try await program.waitForOutput("done", within: .seconds(60))
            try await eventually("all messages are there; output:\n\(program.output)") {
                captured.value.count >= Self.changes.count
            }
            program.send(SIGKILL)
        }
    }

    /// Our publisher, under the ids of the real one.
    private func runOurs(
        _ example: Case,
        _ connection: NATSConnection,
        _ captured: Recorded<[NATSMessage]>,
        _ theirs: [NATSMessage]
    ) async throws {
        let first = try #require(theirs.first)
        var configuration = PublisherConfiguration(form: example.form, endpoint: Self.endpoint, worker: 0)
        let sink: any KVEventSink
        if example.isDurable {
            configuration.mode = .durable
            configuration.worker = try RouterEventJSON.read(first.payload).worker
            let stream = DurableEventStream(JetStream(connection), namespace: "dynamo", component: "backend")
            sink = DurableSink(stream)
        } else {
            let envelope = try EventEnvelope(first.payload)
            configuration.worker = try #require(try RouterEvent.read(envelope.payload).first).worker
            configuration.publisher = envelope.publisher
            let channel = EventChannel(
                .events,
                example.form,
                of: Self.endpoint,
                publisher: envelope.publisher,
                connection: connection
            )
            sink = SeveralFormsSink([channel])
        }
        let publisher = KVEventPublisher(configuration, sink: sink, logger: Logger(label: "test"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await publisher.run() }
            for (index, change) in Self.changes.enumerated() {
                publisher.publish(change.ours)
                // Each as a message of its own, as the real one was driven.
                try await eventually("it is published") { captured.value.count == index + 1 }
            }
            group.cancelAll()
        }
    }

    private func compare(_ ours: NATSMessage, _ theirs: NATSMessage, _ example: Case) throws {
        #expect(ours.subject == theirs.subject)
        if example.isDurable {
            #expect(String(buffer: ours.payload) == String(buffer: theirs.payload))
            return
        }
        var envelope = try EventEnvelope(ours.payload)
        let real = try EventEnvelope(theirs.payload)
        #expect(try RouterEvent.read(envelope.payload) == RouterEvent.read(real.payload))
        #expect(envelope.payload.hex == real.payload.hex)
        // The time is the only thing that must differ: with it the messages are the same, byte by byte.
        envelope.publishedAt = real.publishedAt
        var written = ByteBuffer()
        written.writeEventEnvelope(envelope)
        #expect(written.hex == theirs.payload.hex)
    }
}
