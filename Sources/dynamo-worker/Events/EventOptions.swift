import ArgumentParser
import KVEvents

/// The options of `--engine mock` about KV events.
struct EventOptions: ParsableArguments {
    /// The releases of Dynamo whose routers shall understand what is published.
    enum Form: String, CaseIterable {
        case release12 = "1.2"
        case release16 = "1.6"
        case both

        var forms: [DynamoEventForm] {
            switch self {
            case .release12: [.release12]
            case .release16: [.release16]
            case .both: [.release12, .release16]
            }
        }
    }

    @Flag(
        inversion: .prefixedNo,
        help: """
            Publishes KV events to a durable stream of JetStream, for routers with --router-durable-kv-events; needs \
            DYN_EVENT_PLANE=nats. (default: DYN_DURABLE_KV_EVENTS, otherwise no)
            """
    )
    var durableKVEvents: Bool?

    @Option(
        help: """
            The releases of Dynamo whose routers understand the KV events: 1.2 (also 1.0 and 1.1), 1.6 or both; both costs every \
            event twice. (default: both, 1.2 if durable)
            """,
        completion: .list(Form.allCases.map(\.rawValue)),
        transform: EventOptions.form
    )
    var eventForm: Form?

    private static func form(_ text: String) throws -> Form {
        if let form = Form(rawValue: text) { return form }
        let names = Form.allCases.map(\.rawValue).joined(separator: ", ")
        throw ValidationError("'\(text)' is none of the forms \(names)")
    }

    /// The names of the options that were given.
    var given: [String] {
        [
            ("--durable-kv-events", self.durableKVEvents == true),
            ("--no-durable-kv-events", self.durableKVEvents == false),
            ("--event-form", self.eventForm != nil),
        ].filter(\.1).map(\.0)
    }

    func validate() throws {
        guard self.durableKVEvents == true, let form = self.eventForm, form != .release12 else { return }
        throw ValidationError(
            "--durable-kv-events goes with --event-form 1.2 only: no later release of Dynamo reads durable events"
        )
    }
}
