import Glibc
import Logging
import NIOCore
import TestSupport
import Testing

@testable import NATS

@Suite struct ConsumerTests {
    private func withConsumer(
        _ configure: (inout ConsumerConfiguration) -> Void = { _ in },
        _ body: (JetStream, JetStreamConsumer) async throws -> Void
    ) async throws {
        try await withJetStream { jetStream in
            try await jetStream.createStreamIfAbsent(StreamConfiguration(name: "s", subjects: ["s.*"]))
            var configuration = ConsumerConfiguration(name: "c")
            configure(&configuration)
            try await body(jetStream, try await jetStream.consumer(configuration, of: "s"))
        }
    }

    @Test func `some messages are fetched, and acknowledged ones do not come again`() async throws {
        try await self.withConsumer { jetStream, consumer in
            #expect(try await consumer.fetch(upTo: 5, expiry: nil).isEmpty)
            try await jetStream.publish(0..<7, to: "s.a")
            let first = try await consumer.fetch(upTo: 5)
            #expect(first.map(\.number) == [0, 1, 2, 3, 4])
            #expect(first.map(\.position.streamSequence) == [1, 2, 3, 4, 5])
            #expect(first.first?.subject == "s.a")
            for message in first { try await message.acknowledgeConfirmed() }
            let info = try await consumer.info()
            #expect(info.acknowledgementFloor.streamSequence == 5 && info.pending == 2 && info.unacknowledged == 0)
            // Fewer than asked for: until the time is over.
            #expect(try await consumer.fetch(upTo: 5, expiry: .milliseconds(300)).map(\.number) == [5, 6])
            #expect(try await jetStream.consumerNames(of: "s") == ["c"])
            try await consumer.delete()
            let error = await refusal { () throws(JetStreamError) in try await consumer.info() }
            #expect(error?.code == .consumerMissing)
        }
    }

    @Test func `what is not acknowledged comes again, what is given up does not`() async throws {
        try await self.withConsumer({ $0.acknowledgementWait = .milliseconds(500) }) { jetStream, consumer in
            try await jetStream.publish(0..<4, to: "s.a")
            let messages = try await consumer.fetch(upTo: 4)
            try messages[0].acknowledge()
            try messages[1].giveBack()
            try messages[2].giveUp(reason: "unreadable")
            for number in [1, 3] {
                let again = try #require(try await consumer.fetch(upTo: 1, expiry: .seconds(5)).first)
                #expect(again.number == number && again.position.deliveries == 2)
                try await again.acknowledgeConfirmed()
            }
            #expect(try await consumer.fetch(upTo: 1, expiry: .milliseconds(800)).isEmpty)
        }
    }

    @Test func `more time can be asked for`() async throws {
        try await self.withConsumer({ $0.acknowledgementWait = .milliseconds(600) }) { jetStream, consumer in
            try await jetStream.publish(0..<1, to: "s.a")
            let message = try #require(try await consumer.fetch(upTo: 1).first)
            let end = ContinuousClock.now + .milliseconds(1500)
            try await eventually("the time is over") {
                try message.stillWorking()
                return .now > end
            }
            #expect(try await consumer.info().redelivered == 0)
            try await message.acknowledgeConfirmed()
            #expect(try await consumer.info().unacknowledged == 0)
        }
    }

    @Test func `a slow reader holds no more than its window`() async throws {
        try await self.withConsumer { jetStream, consumer in
            try await jetStream.publish(0..<1000, to: "s.a")
            var read = 0
            for try await message in consumer.messages(.init(window: 20)) {
                #expect(message.number == read)
                read += 1
                try message.acknowledge()
                if read % 100 == 0 {
                    try await jetStream.connection.flush()
                    let info = try await consumer.info()
                    #expect(info.delivered.streamSequence <= UInt64(read + 20))
                }
                if read == 1000 { break }
            }
        }
    }

    @Test func `two readers share a consumer, two consumers get everything`() async throws {
        try await self.withConsumer { jetStream, shared in
            let other = try await jetStream.consumer(ConsumerConfiguration(name: "other"), of: "s")
            @Sendable func read(_ consumer: JetStreamConsumer, into numbers: Recorder<Int>) async throws {
                for try await message in consumer.messages(.init(window: 10)) {
                    numbers.append(message.number)
                    try message.acknowledge()
                }
            }
            let (one, two, all) = (Recorder<Int>(), Recorder<Int>(), Recorder<Int>())
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await read(shared, into: one) }
                group.addTask { try await read(shared, into: two) }
                group.addTask { try await read(other, into: all) }
                try await eventually("both pull") { try await shared.info().waiting == 2 }
                try await jetStream.publish(0..<300, to: "s.a")
                try await eventually("everything has come") {
                    one.values.count + two.values.count == 300 && all.values.count == 300
                }
                group.cancelAll()
            }
            #expect(Set(one.values + two.values) == Set(0..<300))
            #expect(!one.values.isEmpty && !two.values.isEmpty)
            #expect(all.values == Array(0..<300))
        }
    }

    @Test func `a consumer that is deleted ends its reader with the reason`() async throws {
        try await self.withConsumer { jetStream, consumer in
            let reading = Task { for try await _ in consumer.messages() {} }
            try await eventually("the reader pulls") { try await consumer.info().waiting == 1 }
            try await consumer.delete()
            let error = await #expect(throws: JetStreamError.self) { try await reading.value }
            #expect(error?.code == .consumerMissing)
            let fetched = await #expect(throws: JetStreamError.self) {
                try await consumer.fetch(upTo: 1, expiry: .milliseconds(200))
            }
            #expect(fetched?.code == .consumerMissing)
        }
    }

    @Test func `a killed server goes on, and loses nothing`() async throws {
        let port = try freePort()
        try await withTemporaryDirectory { directory in
            let lines = NATSServerFixture.jetStream(in: directory)
            let read = Recorder<Int>()
            let (connection, reading) = try await NATSServerFixture.run(port: port, configuration: lines) { server in
                let connection = try await NATSConnection.connect(server.configuration(), logger: Logger(label: "test"))
                let jetStream = JetStream(connection, timeout: .seconds(1))
                try await jetStream.createStreamIfAbsent(StreamConfiguration(name: "s", subjects: ["s.*"]))
                let consumer = try await jetStream.consumer(ConsumerConfiguration(name: "c"), of: "s")
                let reading = Task {
                    for try await message in consumer.messages(.init(window: 50)) {
                        try await message.acknowledgeConfirmed()
                        read.append(message.number)
                    }
                }
                try await jetStream.publish(0..<500, to: "s.a")
                try await eventually("all is read") { read.values.count == 500 }
                server.process.send(SIGKILL)
                try await server.process.waitForExit()
                return (connection, reading)
            }
            try await NATSServerFixture.run(port: port, configuration: lines) { _ in
                try await JetStream(connection).publish(500..<1000, to: "s.a")
                try await eventually("the rest is read") { Set(read.values).count == 1000 }
                // The server writes acknowledgements down a little later, so the last ones may come again, in order.
                let comesAgain = read.values.dropFirst(500).prefix { $0 < 500 }
                #expect(Array(read.values.dropFirst(500 + comesAgain.count).prefix(500)) == Array(500..<1000))
                #expect(comesAgain.elementsEqual((500 - comesAgain.count)..<500))
                reading.cancel()
                _ = await reading.result
                await connection.close()
            }
        }
    }
}
