extension Planner {
    /// What the launcher has to do for a replica whose engine publishes KV events of its own.
    mutating func kvEvents(
        of process: ProcessManifest,
        _ values: [String: Template.Value],
        _ context: ReplicaContext
    ) -> KVRelayPlan? {
        guard let events = process.kvEvents else { return nil }
        let name = process.name.value
        guard [.natsCore, .zmq].contains(context.planes.events) else {
            // Said once, not for each replica.
            self.errorOnce(
                at: events.location,
                "the KV events of process '\(name)' would be published on NATS core or ZeroMQ, and the event plane is "
                    + context.planes.events.rawValue,
                remedy: "write 'events: nats-core' or 'events: zmq' under 'planes', or remove 'kvEvents'"
            )
            return nil
        }
        let topic = events.topic.map { self.resolved($0.value, at: $0.location, values) } ?? ""
        var sources: [KVRelayPlan.Source] = []
        for rank in 0..<events.ranks {
            guard let engine = self.address(events.engine, "'kvEvents.engine'", rank: rank, events, values) else {
                return nil
            }
            var replay: String?
            if let written = events.replay {
                replay = self.address(written, "'kvEvents.replay'", rank: rank, events, values)
                guard let replay else { return nil }
                guard replay != engine else {
                    self.errorOnce(
                        at: written.location,
                        "the engine of process '\(name)' cannot publish and answer at the same address, \(engine)",
                        remedy: "write the address of its replay socket, or remove 'replay'"
                    )
                    return nil
                }
            }
            sources.append(KVRelayPlan.Source(engine: engine, replay: replay))
        }
        return KVRelayPlan(sources: sources, topic: topic, blockSize: events.blockSize, endpoint: events.endpoint)
    }

    /// The address of a rank's socket; engines count ports up from that of rank 0.
    private mutating func address(
        _ template: Located<Template>,
        _ what: String,
        rank: Int,
        _ events: KVEventsManifest,
        _ values: [String: Template.Value]
    ) -> String? {
        let text = self.resolved(template.value, at: template.location, values)
        if text.isEmpty { return nil }
        let problem: String
        if text.hasPrefix("ipc://"), text.utf8.count > 6 {
            guard events.ranks > 1 else { return text }
            problem = "has no port that could count the \(events.ranks) ranks"
        } else if let match = text.wholeMatch(of: /tcp:\/\/(\[[0-9A-Fa-f:.]+\]|[^:\/\s]+):([0-9]+)/) {
            let last = (Int(match.2) ?? 0) + events.ranks - 1
            if match.1 == "*" || match.1 == "0.0.0.0" {
                problem = "is where an engine listens; the launcher connects to it"
            } else if Int(match.2) == 0 || last > 65535 {
                problem = events.ranks > 1 ? "has a port that leaves none for rank \(events.ranks - 1)" : "has no port"
            } else {
                return "tcp://\(match.1):\(last - events.ranks + 1 + rank)"
            }
        } else {
            problem = "is no address of ZeroMQ"
        }
        self.errorOnce(
            at: template.location,
            "\(what) is '\(Spelling.excerpt(text))', which \(problem)",
            remedy: "write tcp://HOST:PORT, for example tcp://127.0.0.1:{{port.kv}}"
        )
        return nil
    }

    private mutating func errorOnce(at location: Location, _ message: String, remedy: String) {
        guard !self.diagnostics.contains(where: { $0.location == location }) else { return }
        self.error(at: location, message, remedy: remedy)
    }
}
