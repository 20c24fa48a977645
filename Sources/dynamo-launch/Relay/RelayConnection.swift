import Deployment
import KVEvents
import Logging
import RequestPlaneTransports
import Synchronization

/// The launcher's place on the event plane, which all of its relays share.
final class RelayConnection: Sendable {
    private struct State {
        var nats: NATSEventPlane?
        var trouble = "the event plane is being connected to"
    }

    private let events: PlaneSet.Events
    /// What decides how routers reach the endpoints that they ask.
    let environment: [String: String]
    private let logger: Logger
    private let state = Mutex(State())
    private static let hostVariable = "DYN_EVENT_PLANE_HOST"
    private static let pause: Duration = .milliseconds(200)

    /// - Parameters:
    ///   - plan: whose first replica with a relay says how NATS is reached.
    ///   - logger: hears of lost connections.
    init(plan: Plan, logger: Logger) {
        let replica = plan.replicas.first { $0.kvEvents != nil }
        let pairs = (replica?.environment ?? []).filter { Self.isNeeded($0.name) }.map { ($0.name, $0.value) }
        self.environment = Dictionary(pairs) { first, _ in first }
        self.events = plan.planes.events
        self.logger = logger
    }

    /// Fixed ports are the worker's; where it can be reached, the launcher can be too.
    private static func isNeeded(_ name: String) -> Bool {
        name.hasPrefix("NATS_") || name == "DYN_REQUEST_PLANE" || name.contains("_TLS_")
            || [
                "DYN_TCP_RPC_HOST", "DYN_HTTP_RPC_HOST", "DYN_TCP_RESPONSE_STREAM_HOST", Self.hostVariable,
            ].contains(name)
    }

    /// Why nothing can be published yet.
    var trouble: RelayTrouble? {
        guard self.events == .natsCore else { return nil }
        return self.state.withLock { $0.nats == nil ? RelayTrouble(description: $0.trouble) : nil }
    }

    /// A place on the event plane for one publisher, which must give it back.
    ///
    /// - Throws: `RelayTrouble` when there is none yet, or what opening sockets throws.
    func plane() throws -> any EventPlane {
        switch self.events {
        case .zmq: return try ZMQEventPlane(announcing: try self.host, logger: self.logger)
        case .natsCore, .jetstream, .none:
            let (nats, trouble) = self.state.withLock { ($0.nats, $0.trouble) }
            guard let nats else { throw RelayTrouble(description: trouble) }
            return nats
        }
    }

    /// Takes a place back; the connection to NATS is everybody's.
    func giveBack(_ plane: any EventPlane) async {
        if plane is ZMQEventPlane { await plane.close() }
    }

    /// What subscribers of ZeroMQ are told to connect to.
    private var host: String {
        get throws {
            guard let text = self.environment[Self.hostVariable], !text.isEmpty else {
                return LocalAddress.firstRoutable()
            }
            return try LocalAddress.literal(text) ?? LocalAddress.ofInterface(text, in: Self.hostVariable)
        }
    }

    /// Connects to NATS, if events go there, as soon as the server is there; from then on the connection comes back by itself.
    ///
    /// Returns when it is connected, or cancelled.
    func connect() async {
        guard self.events == .natsCore else { return }
        while !Task.isCancelled {
            do {
                let settings = try NetworkManager.Configuration(environment: self.environment, logger: self.logger)
                let plane = try await NATSEventPlane.connect(try settings.nats.connection.get(), logger: self.logger)
                return self.state.withLock { $0.nats = plane }
            } catch {
                self.state.withLock { $0.trouble = "\(error)" }
            }
            try? await Task.sleep(for: Self.pause)
        }
    }

    func close() async {
        guard let plane = self.state.withLock({ $0.nats }) else { return }
        await plane.close()
    }
}

/// Why a relay does not publish (yet).
struct RelayTrouble: Error, Hashable, CustomStringConvertible {
    var description: String
}
