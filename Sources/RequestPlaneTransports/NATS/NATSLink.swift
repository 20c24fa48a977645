import Logging
import NATS
import RequestPlane
import Synchronization

/// The one NATS connection of a process: made when it is first needed, shared by its server and its caller.
final class NATSLink: Sendable {
    private let settings: NATSSettings
    private let logger: Logger
    private let state = Mutex(State.idle)
    private let lastWaiter = Atomic<UInt64>(0)

    private enum State {
        case idle
        /// Somebody connects; these wait for the outcome, by number.
        case connecting([UInt64: Waiter])
        case connected(NATSConnection)
        case closed
    }

    private typealias Outcome = Result<NATSConnection, RequestPlaneError>
    private typealias Waiter = CheckedContinuation<Outcome?, Never>

    private static let shuttingDown = RequestPlaneError(.unavailable, "this process is shutting down")

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

    /// What the connection has counted; nil when this process has not used NATS yet.
    var statistics: NATSLinkStatistics? { self.current.map { NATSLinkStatistics($0.statistics) } }

    /// The connection; the first who asks makes it, the others wait for that and share the outcome.
    ///
    /// - Throws: `RequestPlaneError` when the settings are wrong, no server can be reached or it refuses, or the task is cancelled.
    func connection() async throws(RequestPlaneError) -> NATSConnection {
        let configuration: NATSConfiguration
        do { configuration = try self.settings.connection.get() } catch { throw RequestPlaneError(nats: error) }
        while true {
            switch self.begin() {
            case .use(let connection): return connection
            case .connect: return try await self.connect(configuration)
            case .wait:
                // Without an outcome the one who connected was cancelled, and another has to.
                if let outcome = await self.waitForOutcome() { return try outcome.get() }
                if Task.isCancelled { throw RequestPlaneError(.cancelled, "connecting to NATS was cancelled") }
            case .refuse: throw Self.shuttingDown
            }
        }
    }

    /// Ends the connection for good.
    func close() async {
        let (connection, waiting) = self.state.withLock { state -> (NATSConnection?, [Waiter]) in
            defer { state = .closed }
            switch state {
            case .connected(let connection): return (connection, [])
            case .connecting(let waiting): return (nil, Array(waiting.values))
            case .idle, .closed: return (nil, [])
            }
        }
        for waiter in waiting { waiter.resume(returning: .failure(Self.shuttingDown)) }
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
                state = .connecting([:])
                return .connect
            case .idle:
                state = .connecting([:])
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
        let waiting = self.state.withLock { state -> [Waiter]? in
            guard case .connecting(let waiting) = state else { return nil }
            // After a failure the next one tries again.
            if case .success(let connection) = result { state = .connected(connection) } else { state = .idle }
            return Array(waiting.values)
        }
        guard let waiting else {
            if case .success(let connection) = result { await connection.close() }
            throw Self.shuttingDown
        }
        let outcome = result.mapError { RequestPlaneError(nats: $0) }
        let isCancelled = if case .failure(let error) = result { error.code == .cancelled } else { false }
        for waiter in waiting { waiter.resume(returning: isCancelled ? nil : outcome) }
        return try outcome.get()
    }

    /// Waits for whoever connects.
    ///
    /// - Returns: how it went; nil when either side was cancelled.
    private func waitForOutcome() async -> Outcome? {
        let number = self.lastWaiter.add(1, ordering: .relaxed).newValue
        return await withTaskCancellationHandler {
            await withCheckedContinuation { waiter in
                let isOver = self.state.withLock { state in
                    guard case .connecting(var waiting) = state, !Task.isCancelled else { return true }
                    waiting[number] = waiter
                    state = .connecting(waiting)
                    return false
                }
                if isOver { waiter.resume(returning: nil) }
            }
        } onCancel: {
            let waiter = self.state.withLock { state -> Waiter? in
                guard case .connecting(var waiting) = state else { return nil }
                defer { state = .connecting(waiting) }
                return waiting.removeValue(forKey: number)
            }
            waiter?.resume(returning: nil)
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
