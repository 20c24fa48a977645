import NIOCore
import TestSupport
import Testing

@testable import NATS

@Suite struct StreamTests {
    @Test func `a stream is created once, holds messages, is purged and deleted`() async throws {
        try await withJetStream { jetStream in
            let configuration = StreamConfiguration(name: "s", subjects: ["s.*"], age: .seconds(3600))
            try await jetStream.createStreamIfAbsent(configuration, checked: true)
            try await jetStream.createStreamIfAbsent(configuration, checked: true)
            try await jetStream.publish(0..<10, to: "s.a")
            #expect(try await jetStream.purge("s", .below(4)) == 3)
            var info = try await jetStream.stream("s", countingSubjects: "s.*")
            #expect(info.state.messages == 7 && info.state.firstSequence == 4 && info.state.lastSequence == 10)
            #expect(info.state.subjects == ["s.a": 7])
            #expect(configuration.differences(from: info.configuration).isEmpty)
            #expect(try await jetStream.purge("s", .all) == 7)
            info = try await jetStream.stream("s")
            #expect(info.state.messages == 0 && info.state.subjects == nil)
            try await jetStream.deleteStream("s")
            let error = await refusal { () throws(JetStreamError) in try await jetStream.stream("s") }
            #expect(error?.code == .streamMissing && error?.server?.code == 404)
        }
    }

    @Test func `other settings are told, and can be changed`() async throws {
        try await withJetStream { jetStream in
            var configuration = StreamConfiguration(name: "s", subjects: ["s.*"])
            try await jetStream.createStreamIfAbsent(configuration)
            configuration.age = .seconds(60)
            let changed = configuration
            let error = await refusal { () throws(JetStreamError) in
                try await jetStream.createStreamIfAbsent(changed, checked: true)
            }
            #expect(error?.code == .differs && error?.message.contains("max_age") == true)
            let refused = await refusal { () throws(JetStreamError) in try await jetStream.createStream(changed) }
            #expect(refused?.code == .differs)
            #expect(try await jetStream.updateStream(changed).configuration.age == .seconds(60))
            try await jetStream.createStreamIfAbsent(changed, checked: true)
        }
    }

    @Test func `a server without JetStream and a subject without stream are told apart`() async throws {
        let message = StreamMessage(subject: "nobody", payload: ByteBuffer(string: "x"))
        try await NATSServerFixture.run { server in
            try await server.connected { connection in
                let jetStream = JetStream(connection, attempts: 2, retryDelay: .milliseconds(20))
                let none = await refusal { () throws(JetStreamError) in try await jetStream.stream("s") }
                #expect(none?.code == .unavailable && none?.message.contains("-js") == true)
                #expect(
                    await refusal { () throws(JetStreamError) in try await jetStream.publish(message) }?.code
                        == .unavailable
                )
            }
        }
        try await withJetStream { running in
            let jetStream = JetStream(running.connection, attempts: 2, retryDelay: .milliseconds(20))
            #expect(
                await refusal { () throws(JetStreamError) in try await jetStream.publish(message) }?.code
                    == .streamMissing
            )
        }
    }

    @Test(arguments: ["", "a b", "a.b", "a*", "a>", "a/b", "a\nb"])
    func `names that would change a request are refused`(name: String) async throws {
        #expect(throws: JetStreamError.self) { try JetStream.validate(name, "stream") }
    }
}
