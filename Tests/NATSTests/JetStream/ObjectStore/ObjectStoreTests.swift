import NIOCore
import TestSupport
import Testing

@testable import NATS

@Suite struct ObjectStoreTests {
    private func content(_ count: Int) -> ByteBuffer {
        var random = SystemRandomNumberGenerator()
        return ByteBuffer(
            bytes: (0..<(count + 7) / 8).flatMap { _ in withUnsafeBytes(of: random.next() as UInt64, Array.init) }
                .prefix(count)
        )
    }

    @Test(arguments: [0, 1, 131_072, 131_073, 5_000_000])
    func `an object comes back as it was`(size: Int) async throws {
        try await withJetStream { jetStream in
            let store = try await ObjectStore.create("b", in: jetStream)
            let content = self.content(size)
            let info = try await store.put("a name / with * ü", content)
            #expect(info.size == UInt64(size) && info.chunks == (size + 131_071) / 131_072)
            #expect(try await store.get("a name / with * ü") == content)
            #expect(try await store.info("a name / with * ü") == info)
        }
    }

    @Test func `a new version replaces the old one and its chunks`() async throws {
        try await withJetStream { jetStream in
            let store = try await ObjectStore.create("b", in: jetStream)
            try await store.put("x", self.content(300_000))
            try await store.put("x", ByteBuffer(string: "new"))
            #expect(try await store.get("x") == ByteBuffer(string: "new"))
            // One chunk and what describes it.
            #expect(try await jetStream.stream("OBJ_b").state.messages == 2)
            try await store.put("y", ByteBuffer(string: "other"))
            #expect(try await store.list().map(\.name) == ["x", "y"])
            try await store.delete("x")
            #expect(try await store.list().map(\.name) == ["y"])
            let error = await refusal { () throws(JetStreamError) in try await store.get("x") }
            #expect(error?.code == .notFound)
            try await store.put("x", ByteBuffer(string: "back"))
            #expect(try await store.get("x") == ByteBuffer(string: "back"))
        }
    }

    @Test func `chunks follow the server's limit`() async throws {
        try await withJetStream(configuration: "max_payload: 20000") { jetStream in
            let store = try await ObjectStore.create("b", in: jetStream)
            let content = self.content(100_000)
            let info = try await store.put("x", content)
            #expect(info.chunks > 5)
            #expect(try await store.get("x") == content)
        }
    }

    @Test func `a damaged object is refused`() async throws {
        try await withJetStream { jetStream in
            let store = try await ObjectStore.create("b", in: jetStream)
            var info = try await store.put("x", ByteBuffer(string: "content"))
            let chunk = StreamMessage(subject: "$O.b.C.\(info.version)", payload: ByteBuffer(string: "CONTENT"))
            try await jetStream.purge("OBJ_b", .subject(chunk.subject))
            let lost = await refusal { () throws(JetStreamError) in try await store.get("x") }
            #expect(lost?.code == .damaged && lost?.message.contains("0 of its 7 bytes") == true)
            try await jetStream.publish(chunk)
            let changed = await refusal { () throws(JetStreamError) in try await store.get("x") }
            #expect(changed?.code == .damaged && changed?.message.contains("digest") == true)
            info.size = 1 << 40
            let huge = StreamMessage(
                subject: "$O.b.M.eA==",
                headers: ["Nats-Rollup": "sub"],
                payload: try JetStreamJSON.encode(info)
            )
            try await jetStream.publish(huge)
            let refused = await refusal { () throws(JetStreamError) in try await store.get("x") }
            #expect(refused?.code == .refused)
        }
    }

    @Test func `a bucket without direct reading is read all the same`() async throws {
        try await withJetStream { jetStream in
            var configuration = ObjectStore.configuration(of: "b", storage: .memory)
            configuration.allowsDirect = false
            try await jetStream.createStreamIfAbsent(configuration)
            let store = try await ObjectStore.open("b", in: jetStream)
            let content = self.content(200_000)
            try await store.put("x", content)
            #expect(try await store.get("x") == content)
            try await ObjectStore.delete("b", in: jetStream)
            let error = await refusal { () throws(JetStreamError) in try await ObjectStore.open("b", in: jetStream) }
            #expect(error?.code == .streamMissing)
        }
    }
}
