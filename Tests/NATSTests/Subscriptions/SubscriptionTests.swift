import NATS
import NIOCore
import TestSupport
import Testing

@Suite struct SubscriptionTests {
    @Test func `messages come in order, until the end`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                let texts = Recorder<String>()
                let subscription = try await connection.record("a.*", into: texts)
                for index in 0..<1000 { try connection.publish("a.b", payload: ByteBuffer(string: "\(index)")) }
                try await eventually("all arrive") { texts.values.count == 1000 }
                #expect(texts.values == (0..<1000).map(String.init))
                subscription.unsubscribe()
                try await connection.flush()
                try connection.publish("a.b")
                try await connection.flush()
                #expect(subscription.isEnded)
                #expect(texts.values.count == 1000)
            }
        }
    }

    @Test func `a queue group shares the messages`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { first in
                try await server.connected { second in
                    let (left, right) = (Recorder<String>(), Recorder<String>())
                    _ = try await first.record("work", queueGroup: "q", into: left)
                    _ = try await second.record("work", queueGroup: "q", into: right)
                    for index in 0..<200 { try first.publish("work", payload: ByteBuffer(string: "\(index)")) }
                    try await eventually("all arrive") { left.values.count + right.values.count == 200 }
                    #expect(Set(left.values + right.values).count == 200)
                    #expect(left.values.count > 20 && right.values.count > 20)
                }
            }
        }
    }

    @Test func `a receiver that pauses gets the rest later`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                let texts = Recorder<String>()
                let subscription = try await connection.subscribe("a") { message in
                    texts.append(String(buffer: message.payload))
                    return .pause
                }
                for index in 0..<3 { try connection.publish("a", payload: ByteBuffer(string: "\(index)")) }
                try await eventually("the first arrives") { texts.values == ["0"] }
                try await connection.flush()
                #expect(texts.values == ["0"])
                subscription.resume()
                try await eventually("the second arrives") { texts.values == ["0", "1"] }
                subscription.resume()
                try await eventually("the third arrives") { texts.values == ["0", "1", "2"] }
            }
        }
    }

    @Test func `what a slow receiver loses is counted and reported`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                let events = connection.events()
                let subscription = try await connection.subscribe("a", limits: .init(messages: 10, bytes: 1 << 20)) {
                    _ in
                    .pause
                }
                for _ in 0..<100 { try connection.publish("a", payload: ByteBuffer(string: "x")) }
                try await connection.flush()
                // Ten wait, and one was taken: whether before the rest arrived is not known.
                try await eventually("the loss is counted") { subscription.dropped >= 89 }
                try await eventually("the sum follows") {
                    connection.statistics.slowConsumerDrops == subscription.dropped
                }
                for await event in events {
                    guard case .slowConsumer(let subject, let dropped) = event else { continue }
                    #expect(subject == "a")
                    #expect(dropped > 0)
                    break
                }
            }
        }
    }

    @Test func `draining delivers what had arrived`() async throws {
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                let texts = Recorder<String>()
                let ends = Recorder<NATSError?>()
                let subscription = try await connection.subscribe("a", ended: { ends.append($0) }) { message in
                    texts.append(String(buffer: message.payload))
                    return .more
                }
                try await connection.flush()
                for index in 0..<5000 { try connection.publish("a", payload: ByteBuffer(string: "\(index)")) }
                try await connection.flush()
                try await subscription.drain()
                #expect(texts.values.count == 5000)
                #expect(ends.values == [nil])
                #expect(subscription.isEnded)
                try connection.publish("a")
                try await connection.flush()
                #expect(texts.values.count == 5000)
            }
        }
    }

    @Test func `a forbidden subject is reported, and its subscription ends`() async throws {
        let file = """
            authorization { users: [ { user: u, password: p, permissions: { subscribe: "ok.>", publish: ">" } } ] }
            """
        try await NATSServerFixture.run(configuration: file) { server in
            try await connected(server.configuration(.userPassword(user: "u", password: "p"))) { connection in
                let events = connection.events()
                let ends = Recorder<NATSError?>()
                let subscription = try await connection.subscribe("secret", ended: { ends.append($0) }) { _ in .more }
                let other = try await connection.subscribe("ok.1") { _ in .more }
                for await event in events {
                    guard case .error(let error) = event else { continue }
                    #expect(error.code == .notPermitted)
                    #expect(error.message.contains("secret"))
                    break
                }
                try await eventually("the subscription has ended") { subscription.isEnded }
                #expect(ends.values.map { $0?.code } == [.notPermitted])
                #expect(ends.values[0]?.message.contains("'secret'; allow it") == true)
                #expect(!other.isEnded)
            }
        }
    }
}
