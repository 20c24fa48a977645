import Logging
import NATS
import NIOCore
import Synchronization
import TestSupport

extension NATSServerFixture {
    /// A configuration for this server, quick to connect again.
    func configuration(_ credentials: NATSCredentials = .none) -> NATSConfiguration {
        var configuration = NATSConfiguration(
            servers: [NATSServerAddress(host: "127.0.0.1", port: self.port)],
            credentials: credentials,
            name: "test \"with\" quotes \\"
        )
        configuration.reconnectDelay = .milliseconds(20)
        configuration.maximumReconnectDelay = .milliseconds(200)
        return configuration
    }

    /// Connects, runs a body and closes.
    func connected<Value: Sendable>(
        _ configure: (inout NATSConfiguration) -> Void = { _ in },
        _ body: (NATSConnection) async throws -> Value
    ) async throws -> Value {
        var configuration = self.configuration()
        configure(&configuration)
        return try await NATSTests.connected(configuration, body)
    }
}

/// Connects, runs a body and closes.
func connected<Value: Sendable>(
    _ configuration: NATSConfiguration,
    _ body: (NATSConnection) async throws -> Value
) async throws -> Value {
    let connection = try await NATSConnection.connect(configuration, logger: Logger(label: "test"))
    let result: Result<Value, any Error>
    do { result = .success(try await body(connection)) } catch { result = .failure(error) }
    await connection.close()
    return try result.get()
}

/// What connecting throws; nil when it succeeds.
func connectError(_ configuration: NATSConfiguration) async -> NATSError? {
    do throws(NATSError) {
        let connection = try await NATSConnection.connect(configuration, logger: Logger(label: "test"))
        await connection.close()
        return nil
    } catch {
        return error
    }
}

extension NATSConnection {
    /// Answers each message with what a closure makes of it.
    func answer(
        _ subject: String,
        queueGroup: String? = nil,
        _ make: @escaping @Sendable (NATSMessage) -> NATSMessage
    ) async throws -> NATSSubscription {
        let subscription = try await self.subscribe(subject, queueGroup: queueGroup) { [weak self] message in
            guard let self, let reply = message.reply else { return .more }
            let answer = make(message)
            try? self.publish(reply, headers: answer.headers, payload: answer.payload)
            return .more
        }
        try await self.flush()
        return subscription
    }

    /// Records the payloads of a subject as text.
    func record(
        _ subject: String,
        queueGroup: String? = nil,
        into texts: Recorder<String>
    ) async throws -> NATSSubscription {
        let subscription = try await self.subscribe(subject, queueGroup: queueGroup) { message in
            texts.append(String(buffer: message.payload))
            return .more
        }
        try await self.flush()
        return subscription
    }
}

/// Values in the order of their arrival.
final class Recorder<Value: Sendable>: Sendable {
    private let storage = Mutex<[Value]>([])

    var values: [Value] { self.storage.withLock { $0 } }

    func append(_ value: Value) { self.storage.withLock { $0.append(value) } }
}

/// What a body throws, as an error of this module.
func thrown<Value>(_ body: () async throws(NATSError) -> Value) async -> NATSError? {
    do throws(NATSError) {
        _ = try await body()
        return nil
    } catch {
        return error
    }
}
