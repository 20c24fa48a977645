import Deployment
import KVRouting

/// Whether and how the KV events of a deployment can be followed from outside.
struct KVPlaneAccess {
    let plane: RoutingPlane.Kind
    /// For the connection to the event plane and to the workers.
    let environment: [String: String]

    /// Why they cannot.
    struct Refusal: Error, Hashable, CustomStringConvertible {
        let description: String
    }

    /// - Parameters:
    ///   - plan: as the launcher gives it out, without secrets.
    ///   - caller: the environment of this command, which must have the secrets.
    /// - Throws: `Refusal` when the plane is none that is read here.
    init(_ plan: Plan, caller: [String: String]) throws(Refusal) {
        switch plan.planes.events {
        case .natsCore: self.plane = .nats
        case .zmq: self.plane = .zmq
        case .none:
            throw Refusal(
                description:
                    "it has no event plane: set planes.events to nats-core or zmq in its manifest (a KV router without events "
                    + "predicts what workers hold)"
            )
        case .jetstream:
            throw Refusal(
                description:
                    "its event plane is jetstream; 'kv' follows nats-core and zmq, where workers answer what they hold"
            )
        }
        let replica = plan.replicas.first { $0.role == .worker }
        var environment: [String: String] = [:]
        for variable in replica?.environment ?? [] where Self.isNeeded(variable.name) {
            let isMasked = variable.value.contains(Secrets.mask)
            environment[variable.name] = isMasked ? caller[variable.name] : variable.value
        }
        self.environment = environment
    }

    private static func isNeeded(_ name: String) -> Bool {
        name.hasPrefix("NATS_") || name == "DYN_REQUEST_PLANE" || name.contains("_TLS_")
    }
}
