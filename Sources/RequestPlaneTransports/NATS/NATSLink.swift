import Logging
import NATS
import RequestPlane
import Synchronization

/// The one NATS connection of a process: made when it is first needed, shared by its server and its caller.
final class NATSLink: Sendable {
    private let settings: NATSSettings
    private let logger: Logger
    private let state = Mutex(State.idle)

    private enum State {
        case idle
        /// Somebody connects; these wait for the outcome.
        case connecting([CheckedContinuation<Void, Never>])
        case connected(NATSConnection)
        case closed
    }

    init(settings: NATSSettings, logger: Logger) {
        self.settings = settings
        self.logger = logger
    }

    /// The connection, if there is one.
    var current: NATSConnection? {
        self.state.withLock { state in
            if case .connected(let connection) = state { connection } else { nil }
        }
    }

    /// The connection; the first who asks makes it, the others wait for that.
    ///
    /// - Throws: `RequestPlaneError` when the settings are wrong, no server can be reached or it refuses.
    func connection() async throws(RequestPlaneError) -> NATSConnection {
        let configuration: NATSConfiguration
        do { configuration = try self.settings.connection.get() } catch { throw RequestPlaneError(nats: error) }
        while true {
            switch self.begin() {
            case .use(let connection): return connection
            case .connect: return try await self.connect(configuration)
            case .wait: await self.waitForOutcome()
            case .refuse: throw RequestPlaneError(.unavailable, "this process is shutting down")
            }
        }
    }

    /// Ends the connection for good.
    func close() async {
        let (connection, waiting) = self.state.withLock {
            state -> (NATSConnection?, [CheckedContinuation<Void, Never>]) in
            defer { state = .closed }
            switch state {
            case .connected(let connection): return (connection, [])
            case .connecting(let waiting): return (nil, waiting)
            case .idle, .closed: return (nil, [])
            }
        }
        for continuation in waiting { continuation.resume() }
        await connection?.close()
    }

    private enum Step {
        case use(NATSConnection)
        case connect
        case wait
        case refuse
    }

    private func begin() -> Step {
        self.state.withLock { state in
            switch state {
            case .closed: return .refuse
            case .connecting: return .wait
            case .connected(let connection):
                // A server may end a connection for good, for example when credentials are withdrawn.
                guard connection.statistics.phase == .closed else { return .use(connection) }
                state = .connecting([])
                return .connect
            case .idle:
                state = .connecting([])
                return .connect
            }
        }
    }

    private func connect(_ configuration: NATSConfiguration) async throws(RequestPlaneError) -> NATSConnection {
        let result: Result<NATSConnection, NATSError>
        do throws(NATSError) {
            result = .success(try await NATSConnection.connect(configuration, logger: self.logger))
        } catch {
            result = .failure(error)
        }
        let (isClosed, waiting) = self.state.withLock { state in
            guard case .connecting(let waiting) = state else { return (true, [CheckedContinuation<Void, Never>]()) }
            // After a failure the next one tries again.
            if case .success(let connection) = result { state = .connected(connection) } else { state = .idle }
            return (false, waiting)
        }
        for continuation in waiting { continuation.resume() }
        do {
            let connection = try result.get()
            guard isClosed else { return connection }
            await connection.close()
            throw RequestPlaneError(.unavailable, "this process is shutting down")
        } catch let error as NATSError {
            throw RequestPlaneError(nats: error)
        } catch {
            throw error as? RequestPlaneError ?? RequestPlaneError(.connectFailed, "\(error)")
        }
    }

    private func waitForOutcome() async {
        await withCheckedContinuation { continuation in
            let isOver = self.state.withLock { state in
                guard case .connecting(let waiting) = state else { return true }
                state = .connecting(waiting + [continuation])
                return false
            }
            if isOver { continuation.resume() }
        }
    }
}

extension RequestPlaneError {
    /// The same failure in the words of the request plane.
    init(nats error: NATSError) { self.init(Self.code(of: error.code), error.message) }

    private static func code(of code: NATSError.Code) -> Code {
        switch code {
        case .invalidConfiguration, .invalidArgument, .authenticationFailed, .tlsFailed, .notPermitted, .unsupported:
            .invalidConfiguration
        case .connectFailed, .disconnected, .internalFailure: .connectFailed
        case .timedOut: .timedOut
        case .noResponders: .unknownEndpoint
        case .payloadTooLarge: .tooLarge
        case .overloaded: .overloaded
        case .draining, .closed: .unavailable
        case .cancelled: .cancelled
        }
    }
}
