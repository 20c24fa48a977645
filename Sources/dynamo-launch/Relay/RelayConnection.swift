import Deployment
import KVEvents
import Logging
import RequestPlaneTransports
import Synchronization

/// The launcher's place on the event plane, which all of its relays share.
final class RelayConnection: Sendable {
    private struct State {
        var plane: NATSEventPlane?
        var trouble = "the event plane is being connected to"
    }

    /// What decides how routers reach the endpoints that they ask.
    let environment: [String: String]
    private let logger: Logger
    private let state = Mutex(State())
    private static let pause: Duration = .milliseconds(200)

    /// - Parameters:
    ///   - plan: whose first replica with a relay says how NATS is reached.
    ///   - logger: hears of lost connections.
    init(plan: Plan, logger: Logger) {
        let replica = plan.replicas.first { $0.kvEvents != nil }
        let pairs = (replica?.environment ?? []).filter { Self.isNeeded($0.name) }.map { ($0.name, $0.value) }
        self.environment = Dictionary(pairs) { first, _ in first }
        self.logger = logger
    }

    /// Fixed ports are the worker's; where it can be reached, the launcher can be too.
    private static func isNeeded(_ name: String) -> Bool {
        name.hasPrefix("NATS_") || name == "DYN_REQUEST_PLANE" || name.contains("_TLS_")
            || ["DYN_TCP_RPC_HOST", "DYN_HTTP_RPC_HOST", "DYN_TCP_RESPONSE_STREAM_HOST"].contains(name)
    }

    /// The connection, or why there is none yet.
    var plane: Result<NATSEventPlane, RelayTrouble> {
        self.state.withLock { state in
            state.plane.map { .success($0) } ?? .failure(RelayTrouble(description: state.trouble))
        }
    }

    /// Connects as soon as the server is there; from then on the connection comes back by itself.
    ///
    /// Returns when it is connected, or cancelled.
    func connect() async {
        while !Task.isCancelled {
            do {
                let settings = try NetworkManager.Configuration(environment: self.environment, logger: self.logger)
                let plane = try await NATSEventPlane.connect(try settings.nats.connection.get(), logger: self.logger)
                return self.state.withLock { $0.plane = plane }
            } catch {
                self.state.withLock { $0.trouble = "\(error)" }
            }
            try? await Task.sleep(for: Self.pause)
        }
    }

    func close() async {
        guard let plane = self.state.withLock({ $0.plane }) else { return }
        await plane.close()
    }
}

/// Why a relay does not publish (yet).
struct RelayTrouble: Error, Hashable, CustomStringConvertible {
    var description: String
}
