import Foundation
import Logging
import NATS
import NIOCore
import TestSupport

/// Runs a server with JetStream and gives the body a connection to it.
func withJetStream<Value: Sendable>(
    configuration: String = "",
    _ body: (JetStream) async throws -> Value
) async throws -> Value {
    try await withTemporaryDirectory { directory in
        let lines = NATSServerFixture.jetStream(in: directory) + "\n" + configuration
        return try await NATSServerFixture.run(configuration: lines) { server in
            try await server.connected { try await body(JetStream($0, timeout: .seconds(5))) }
        }
    }
}

/// What a body throws, as an error of JetStream.
func refusal<Value>(_ body: () async throws(JetStreamError) -> Value) async -> JetStreamError? {
    do throws(JetStreamError) {
        _ = try await body()
        return nil
    } catch {
        return error
    }
}

extension JetStream {
    /// Publishes numbers as text.
    func publish(_ numbers: Range<Int>, to subject: String) async throws {
        let publisher = JetStreamPublisher(self)
        for number in numbers {
            try await publisher.publish(StreamMessage(subject: subject, payload: ByteBuffer(string: "\(number)")))
        }
        try await publisher.flush()
    }
}

extension JetStreamMessage {
    var number: Int { Int(String(buffer: self.payload)) ?? -1 }
}
