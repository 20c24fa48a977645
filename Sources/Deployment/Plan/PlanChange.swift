/// What it takes to make a running deployment match another plan.
package struct PlanChange: Sendable, Hashable, Codable {
    /// One replica that runs otherwise.
    package struct Replica: Sendable, Hashable, Codable {
        package var name: String
        /// What differs, such as `arguments` or `environment: DYN_LOG`; empty for one that comes or goes.
        package var differences: [String]

        package init(name: String, differences: [String] = []) {
            self.name = name
            self.differences = differences
        }
    }

    /// Get a new process, one after another.
    package var changed: [Replica] = []
    package var added: [Replica] = []
    package var removed: [Replica] = []
    /// Keep their process; what they wait for is otherwise from their next start on.
    package var reordered: [String] = []
    /// Keep their process.
    package var unchanged: [String] = []
    /// What differs and cannot be changed while the deployment runs, in words; nothing is changed then.
    package var refusals: [String] = []
    /// What else comes of it, in words.
    package var notes: [String] = []

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.changed = try values.decode([Replica].self, forKey: .changed)
        self.added = try values.decode([Replica].self, forKey: .added)
        self.removed = try values.decode([Replica].self, forKey: .removed)
        // A launcher of before does not say it.
        self.reordered = try values.decodeIfPresent([String].self, forKey: .reordered) ?? []
        self.unchanged = try values.decode([String].self, forKey: .unchanged)
        self.refusals = try values.decode([String].self, forKey: .refusals)
        self.notes = try values.decodeIfPresent([String].self, forKey: .notes) ?? []
    }

    /// Whether there is nothing to do.
    package var isEmpty: Bool {
        self.changed.isEmpty && self.added.isEmpty && self.removed.isEmpty && self.reordered.isEmpty
    }

    /// Compares two plans of one machine.
    ///
    /// - Parameters:
    ///   - old: what runs.
    ///   - new: what shall run, with the names that ``naming(_:after:)`` gives.
    package init(from old: Plan, to new: Plan) {
        self.refusals = Self.refusals(from: old, to: new)
        let before = Dictionary(old.replicas.map { ($0.name, $0) }) { first, _ in first }
        let after = Set(new.replicas.map(\.name))
        for replica in new.replicas {
            guard let running = before[replica.name] else {
                self.added.append(Replica(name: replica.name))
                continue
            }
            var differences = Self.differences(from: running, to: replica)
            let waitsForOthers = running.dependencies != replica.dependencies
            switch (differences.isEmpty, waitsForOthers) {
            case (true, false): self.unchanged.append(replica.name)
            // A process that runs has waited already: no reason to end it.
            case (true, true): self.reordered.append(replica.name)
            case (false, _):
                if waitsForOthers { differences.append("dependsOn") }
                self.changed.append(Replica(name: replica.name, differences: differences))
            }
        }
        self.removed = old.replicas.filter { !after.contains($0.name) }.map { Replica(name: $0.name) }
        self.notes = Self.notes(from: old, to: new)
    }

    private static func notes(from old: Plan, to new: Plan) -> [String] {
        let after = Set(new.replicas.map(\.process))
        var gone: [String] = []
        for replica in old.replicas where replica.role == .worker && !after.contains(replica.process) {
            if !gone.contains(replica.process) { gone.append(replica.process) }
        }
        return gone.map { "no replica of \($0) is left: a model that only it serves is not there any more" }
    }

    /// The new plan with the names that its replicas have already.
    ///
    /// A process that gets a second replica would otherwise call its first one differently.
    package static func naming(_ new: Plan, after old: Plan) -> Plan {
        var plan = new
        for index in plan.replicas.indices {
            let replica = plan.replicas[index]
            guard
                let running = old.replicas.first(where: { $0.process == replica.process && $0.index == replica.index })
            else { continue }
            plan.replicas[index].name = running.name
        }
        return plan
    }

    private static func refusals(from old: Plan, to new: Plan) -> [String] {
        var refusals: [String] = []
        func compare(_ name: String, _ isEqual: Bool, _ old: String, _ new: String) {
            guard !isEqual else { return }
            refusals.append("\(name) cannot be changed while the deployment runs (\(old) -> \(new))")
        }
        compare("name", old.deployment == new.deployment, old.deployment, new.deployment)
        compare("planes", old.planes == new.planes, old.planes.words, new.planes.words)
        compare("namespace", old.namespace == new.namespace, old.namespace, new.namespace)
        compare("discovery", old.discovery == new.discovery, old.discovery.rendered, new.discovery.rendered)
        compare(
            "http",
            old.publicAddress == new.publicAddress,
            "\(old.publicAddress.host):\(old.publicAddress.port)",
            "\(new.publicAddress.host):\(new.publicAddress.port)"
        )
        if !old.survive, new.survive {
            refusals.append("survive cannot be turned on while the deployment runs: nothing was kept for it")
        }
        compare("gateway", old.gateway == new.gateway, old.gateway.words, new.gateway.words)
        let relaysOld = old.replicas.contains { $0.kvEvents != nil }
        let relaysNew = new.replicas.contains { $0.kvEvents != nil }
        let servers = [old, new].map { plan in
            Set(
                plan.replicas.filter { $0.kvEvents != nil }.flatMap(\.environment).filter { $0.name.hasPrefix("NATS_") }
            )
        }
        if relaysOld, relaysNew, servers[0].map(\.value).sorted() != servers[1].map(\.value).sorted() {
            refusals.append("the NATS server of relayed KV events cannot be changed while the deployment runs")
        }
        compare("whether KV events are relayed (kvEvents)", relaysOld == relaysNew, "\(relaysOld)", "\(relaysNew)")
        return refusals
    }

    private static func differences(from old: ReplicaPlan, to new: ReplicaPlan) -> [String] {
        var differences: [String] = []
        func compare(_ name: String, _ isEqual: Bool) { if !isEqual { differences.append(name) } }
        compare("role", old.role == new.role)
        compare("program", old.executable == new.executable)
        compare("arguments", old.arguments == new.arguments)
        let variables = Self.variables(from: old, to: new)
        if !variables.isEmpty { differences.append("environment: \(variables.joined(separator: ", "))") }
        compare("workingDirectory", old.workingDirectory == new.workingDirectory)
        compare("ports", old.ports == new.ports)
        compare("listen", old.listens == new.listens)
        compare("gpus", old.gpus == new.gpus)
        compare("kvEvents", old.kvEvents == new.kvEvents)
        compare("limits", old.limits == new.limits)
        compare("probes", old.readiness == new.readiness)
        compare("timing", old.timing == new.timing)
        compare("restart", old.restart == new.restart)
        compare("stop", old.stop == new.stop)
        return differences
    }

    /// Names only: values may be secret.
    private static func variables(from old: ReplicaPlan, to new: ReplicaPlan) -> [String] {
        let before = Dictionary(old.environment.map { ($0.name, $0.value) }) { first, _ in first }
        let after = Dictionary(new.environment.map { ($0.name, $0.value) }) { first, _ in first }
        return Set(before.keys).union(after.keys).filter { before[$0] != after[$0] }.sorted()
    }
}

extension PlaneSet {
    fileprivate var words: String {
        "request \(self.request.rawValue), events \(self.events.rawValue), response \(self.response.rawValue)"
    }
}

extension GatewayPlan? {
    fileprivate var words: String {
        switch self {
        case nil: "false"
        case let plan?: plan.rendered.map { "\($0.label): \($0.text)" }.joined(separator: "; ")
        }
    }
}
