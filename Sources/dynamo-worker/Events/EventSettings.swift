import DynamoRuntime
import KVEvents
import RequestPlane
import RequestPlaneTransports

/// How a worker publishes KV events, as options and environment say.
struct EventSettings: Hashable, Sendable {
    /// Where events go.
    enum Plane: String, CaseIterable {
        case nats
        case zmq
        case none
    }

    var plane: Plane
    /// nil: messages that may get lost; otherwise how old events get in a stream that does not exist yet.
    var durableAge: Duration?
    /// The forms of the releases that are served.
    var forms: [DynamoEventForm]
    /// What subscribers of ZeroMQ are told to connect to.
    var host: String

    /// Reads the environment.
    ///
    /// - Parameters:
    ///   - options: win over the environment.
    ///   - environment: `DYN_EVENT_PLANE`, `DYN_DURABLE_KV_EVENTS`, `DYN_NATS_STREAM_MAX_AGE`, `DYN_EVENT_PLANE_HOST`.
    /// - Throws: `ConfigurationError` that lists everything which is wrong.
    init(_ options: EventOptions, _ environment: [String: String]) throws {
        var reader = EnvironmentReader(environment)
        self.plane = reader.choice("DYN_EVENT_PLANE", default: .none)
        let isDurable =
            options.durableKVEvents ?? (reader.choice("DYN_DURABLE_KV_EVENTS", default: Switch.false) == .true)
        let age = reader.integer("DYN_NATS_STREAM_MAX_AGE", in: 1...31_536_000, default: 3600)
        self.durableAge = isDurable ? .seconds(age) : nil
        self.forms = options.eventForm?.forms ?? (isDurable ? [.release12] : [.release12, .release16])
        self.host = ""
        var problems = reader.problems
        if isDurable, self.plane != .nats {
            problems.append(
                "durable KV events need NATS, and DYN_EVENT_PLANE is \(environment["DYN_EVENT_PLANE"].map { "'\($0)'" } ?? "not set"); "
                    + "set DYN_EVENT_PLANE=nats, or leave --durable-kv-events and DYN_DURABLE_KV_EVENTS out"
            )
        }
        if isDurable, self.forms != [.release12] {
            problems.append(
                "durable KV events have the form of Dynamo 1.2 only; leave --event-form out, or DYN_DURABLE_KV_EVENTS"
            )
        }
        if self.plane == .zmq {
            for name in ["DYN_ZMQ_BROKER_URL", "DYN_ZMQ_BROKER_ENABLED"] where reader.string(name) != nil {
                problems.append(
                    "\(name) is set, but this worker has no broker on the ZeroMQ event plane, only sockets of its own; unset it"
                )
            }
            do throws(RequestPlaneError) {
                self.host = try Self.host(reader.string("DYN_EVENT_PLANE_HOST"))
            } catch {
                problems.append(error.message)
            }
        }
        guard problems.isEmpty else { throw ConfigurationError(problems) }
    }

    private enum Switch: String, CaseIterable {
        case `true`
        case `false`
    }

    /// The address that `DYN_EVENT_PLANE_HOST` means: a literal, an interface's, or that which others can reach.
    private static func host(_ text: String?) throws(RequestPlaneError) -> String {
        guard let text else { return LocalAddress.firstRoutable() }
        guard let literal = LocalAddress.literal(text) else {
            return try LocalAddress.ofInterface(text, in: "DYN_EVENT_PLANE_HOST")
        }
        guard literal != "0.0.0.0", literal != "::" else {
            throw RequestPlaneError(
                .invalidConfiguration,
                "DYN_EVENT_PLANE_HOST='\(text)' is no address that others can connect to; write one of this machine, or unset it"
            )
        }
        return literal
    }
}
