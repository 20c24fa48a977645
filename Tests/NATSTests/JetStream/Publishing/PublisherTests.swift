import Glibc
import Logging
import NIOCore
import TestSupport
import Testing

@testable import NATS

@Suite struct PublisherTests {
    @Test func `a message is acknowledged, and stored once for its id`() async throws {
        try await withJetStream { jetStream in
            try await jetStream.createStreamIfAbsent(StreamConfiguration(name: "s", subjects: ["s.*"]))
            let message = StreamMessage(subject: "s.a", id: "1", payload: ByteBuffer(string: "x"))
            #expect(try await jetStream.publish(message) == .init(stream: "s", sequence: 1))
            #expect(try await jetStream.publish(message) == .init(stream: "s", sequence: 1, isDuplicate: true))
            #expect(try await jetStream.stream("s").state.messages == 1)
        }
    }

    @Test func `what a stream refuses is told with the server's words, and the rest goes on`() async throws {
        try await withJetStream { jetStream in
            var configuration = StreamConfiguration(name: "s", subjects: ["s.*"], discard: .new)
            configuration.maximumMessages = 2
            try await jetStream.createStreamIfAbsent(configuration)
            let publisher = JetStreamPublisher(jetStream)
            for _ in 0..<3 {
                try await publisher.publish(StreamMessage(subject: "s.a", payload: ByteBuffer(string: "x")))
            }
            var error: JetStreamError?
            do throws(JetStreamError) { try await publisher.flush() } catch let refusal { error = refusal }
            #expect(error?.code == .refused && error?.server?.text == "maximum messages exceeded")
            try await jetStream.purge("s", .all)
            try await publisher.publish(StreamMessage(subject: "s.a", payload: ByteBuffer(string: "y")))
            try await publisher.flush()
            #expect(publisher.statistics.refused == 1 && publisher.statistics.acknowledged == 3)
        }
    }

    @Test func `no more than the window is on its way`() async throws {
        try await withJetStream { jetStream in
            try await jetStream.createStreamIfAbsent(StreamConfiguration(name: "s", subjects: ["s.*"]))
            let publisher = JetStreamPublisher(jetStream, window: 8)
            var largest = 0
            for _ in 0..<500 {
                try await publisher.publish(StreamMessage(subject: "s.a", payload: ByteBuffer(string: "x")))
                largest = max(largest, publisher.unacknowledged)
            }
            try await publisher.flush()
            #expect(largest <= 8 && largest > 1)
            #expect(publisher.unacknowledged == 0)
            #expect(publisher.statistics == .init(acknowledged: 500))
        }
    }

    @Test func `a server that is killed under load loses nothing, doubles nothing and keeps the order`() async throws {
        let port = try freePort()
        try await withTemporaryDirectory { directory in
            let lines = NATSServerFixture.jetStream(in: directory)
            let connection = try await NATSServerFixture.run(port: port, configuration: lines) { server in
                let connection = try await NATSConnection.connect(server.configuration(), logger: Logger(label: "test"))
                try await JetStream(connection).createStreamIfAbsent(StreamConfiguration(name: "s", subjects: ["s.*"]))
                return (connection, server.process)
            }
            // The first server has ended in order; the second is killed in the middle.
            let jetStream = JetStream(connection.0, timeout: .seconds(1), attempts: 20, retryDelay: .milliseconds(100))
            let publishing = try await NATSServerFixture.run(port: port, configuration: lines) { server in
                let publishing = Task {
                    let publisher = JetStreamPublisher(jetStream, window: 64)
                    for number in 0..<20_000 {
                        let payload = ByteBuffer(string: "\(number)")
                        try await publisher.publish(StreamMessage(subject: "s.a", payload: payload))
                    }
                    try await publisher.flush()
                    return publisher.statistics
                }
                try await eventually("half is stored") { try await jetStream.stream("s").state.messages > 2000 }
                server.process.send(SIGKILL)
                try await server.process.waitForExit()
                return publishing
            }
            try await NATSServerFixture.run(port: port, configuration: lines) { _ in
                let statistics = try await publishing.value
                #expect(statistics.acknowledged == 20_000)
                #expect(statistics.resent > 0 && statistics.refused == 0)
                let consumer = try await jetStream.consumer(ConsumerConfiguration(name: "c"), of: "s")
                var numbers: [Int] = []
                for try await message in consumer.messages() {
                    numbers.append(message.number)
                    try message.acknowledge()
                    if numbers.count == 20_000 { break }
                }
                #expect(Set(numbers).count == 20_000)
                #expect(try await jetStream.stream("s").state.messages == 20_000)
                #expect(statistics.disorders == 0 && numbers == Array(0..<20_000))
                await connection.0.close()
            }
        }
    }
}
