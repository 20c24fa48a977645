import Deployment

/// Whether and how the KV events of a deployment can be followed from outside.
struct KVPlaneAccess {
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
        case .natsCore: break
        case .none:
            throw Refusal(
                description:
                    "it has no event plane: set planes.events to nats-core in its manifest (a KV router without events "
                    + "predicts what workers hold)"
            )
        case .jetstream, .zmq:
            throw Refusal(
                description:
                    "its event plane is \(plan.planes.events.rawValue); 'kv' follows nats-core, where workers answer what "
                    + "they hold"
            )
        }
        if let release = plan.release, release >= DynamoRelease(1, 3, 0) {
            throw Refusal(
                description:
                    "its workers are of Dynamo \(release); 'kv' follows the events of 1.0 to 1.2 and of dynamo-worker"
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
