internal import Deployment
internal import Supervisor

/// A migration plan for people.
struct MigrationWords {
    let plan: MigrationPlan
    let old: MigrationPlan.Side
    let new: MigrationPlan.Side
    let settings: MigrationSettings
    let needs: MigrationNeeds

    func outline(confirms: Bool) -> MigrationOutline {
        MigrationOutline(
            from: self.old.words,
            to: self.new.words,
            strategy: self.plan.strategy,
            steps: self.steps(confirms: confirms),
            needs: self.needed(),
            gap: self.gap(),
            notes: self.notes()
        )
    }

    // MARK: Steps

    private func steps(confirms: Bool) -> [String] {
        let (before, after) = (self.old.name, self.new.name)
        var steps: [String] = []
        let within = self.settings.startTimeout.map { ", within \(Seconds.rendered($0))" } ?? ""
        let ready = "until it is ready through every layer\(within)"
        switch self.plan.strategy {
        case .blueGreen:
            steps.append(
                "start \(Self.count(self.new.plan.replicas, "process")) of \(after) beside \(before), \(ready)"
            )
        case .recreate:
            steps.append("hold new requests in the gateway, let \(before) answer what it has\(self.limit), and stop it")
            steps.append("start \(Self.count(self.new.plan.replicas, "process")) of \(after), \(ready)")
        case .rolling:
            let first = self.plan.waves.first
            if let first, !first.removedFirst.isEmpty {
                steps.append("stop \(first.removedFirst.joined(separator: ", ")) of \(before), whose place is needed")
            }
            let others = self.new.others.map(\.name) + (first?.added ?? [])
            steps.append("start \(others.joined(separator: ", ")) of \(after), \(ready)")
        }
        steps.append("compare what is registered in discovery with the plans of both")
        let own = self.settings.canary.count
        steps.append(
            "ask \(after) for a token, a long stream and a cancelled one"
                + (own > 0 ? ", and \(own == 1 ? "the request" : "the \(own) requests") under 'migration.canary'" : "")
        )
        if confirms { steps.append("wait for 'dynamo-launch migrate promote'") }
        switch self.plan.strategy {
        case .blueGreen, .recreate:
            for share in self.plan.shares { steps.append("give \(after) \(share)% of the requests\(self.watched)") }
        case .rolling:
            for (index, wave) in self.plan.waves.enumerated() { steps.append(self.step(wave, isFirst: index == 0)) }
        }
        if self.plan.strategy != .recreate {
            steps.append("let \(before) answer what it has\(self.limit)")
        }
        if self.plan.strategy == .blueGreen, self.settings.rollbackWindow > 0 {
            steps.append("keep \(before) for \(Seconds.rendered(self.settings.rollbackWindow)), for a return at once")
        }
        if self.plan.strategy != .recreate { steps.append("stop \(before)") }
        return steps
    }

    private func step(_ wave: MigrationPlan.Wave, isFirst: Bool) -> String {
        var parts: [String] = []
        if !isFirst {
            if !wave.removedFirst.isEmpty {
                parts.append("stop \(wave.removedFirst.joined(separator: ", ")) of \(self.old.name)")
            }
            if !wave.added.isEmpty { parts.append("start \(wave.added.joined(separator: ", ")) of \(self.new.name)") }
        }
        parts.append("give \(self.new.name) \(wave.share)% of the requests\(self.watched)")
        if !wave.removedAfter.isEmpty {
            parts.append("stop \(wave.removedAfter.joined(separator: ", ")) of \(self.old.name)")
        }
        return parts.joined(separator: ", then ")
    }

    private var watched: String {
        self.settings.observe > 0 ? " and watch for \(Seconds.rendered(self.settings.observe))" : ""
    }

    private var limit: String {
        let limit = self.settings.drainTimeout ?? DeploymentTimes(self.old.plan).drain
        return ", for at most \(Seconds.rendered(limit))"
    }

    // MARK: Needs

    private func needed() -> [String] {
        var needs: [String] = []
        let devices = self.needs.devicesNeeded
        if devices.isEmpty {
            needs.append("no GPU by the manifest ('gpus')")
        } else {
            let shared = self.needs.devicesShared
            let list = MigrationNeeds.list(devices, "GPU")
            needs.append(
                shared.isEmpty
                    ? "\(list), which \(self.old.name) does not use"
                    : "\(list), of which \(self.old.name) has \(shared.joined(separator: ", "))"
            )
        }
        let chosen = self.new.plan.replicas.flatMap(\.ports).count { $0.leased }
        let fixed = MigrationNeeds.unique(self.new.plan.replicas.flatMap(\.ports).filter { !$0.leased }.map(\.port))
        var ports: [String] = []
        if chosen > 0 { ports.append("\(chosen) port\(chosen == 1 ? "" : "s") that the launcher chooses") }
        if !fixed.isEmpty { ports.append(MigrationNeeds.list(fixed.sorted().map(String.init), "port")) }
        if !ports.isEmpty { needs.append(ports.joined(separator: ", ")) }
        let servers = self.new.plan.externalServices.map { "\($0.name) at \($0.maskedURL)" }
        needs += servers
        switch self.plan.strategy {
        case .blueGreen:
            needs.append("memory for both generations at once; how much that is, is not known here")
        case .rolling:
            needs.append(
                "memory for the frontends of both generations and for the workers that run at the same time; how much that is, is not known here"
            )
        case .recreate: break
        }
        return needs
    }

    // MARK: Gap

    private func gap() -> String? {
        switch self.plan.strategy {
        case .blueGreen: return nil
        case .recreate:
            return
                "from the stop of \(self.old.name) to the readiness of \(self.new.name): all of its start, models and all\(self.held)"
        case .rolling:
            guard let first = self.plan.waves.first, !first.removedFirst.isEmpty else { return nil }
            let left = self.old.workers.filter { !first.removedFirst.contains($0.name) }
            let lost = MigrationNeeds.unique(self.old.workers.map(\.process)).filter { process in
                !left.contains { $0.process == process }
            }
            guard !lost.isEmpty else { return nil }
            let whole = left.isEmpty ? "no worker" : "none of \(lost.joined(separator: ", "))"
            return
                "from the stop of \(first.removedFirst.joined(separator: ", ")) to the readiness of \(first.added.joined(separator: ", ")) there is \(whole)\(self.held)"
        }
    }

    private var held: String {
        guard let hold = self.old.plan.gateway?.hold, hold.requests > 0 else {
            return "; requests are refused meanwhile ('gateway.hold' is off)"
        }
        return "; the gateway holds up to \(hold.requests) requests for at most \(Seconds.rendered(hold.time)) each"
    }

    private func notes() -> [String] {
        var notes: [String] = []
        if self.needs.devices.indexes == nil, !self.needs.devicesNeeded.isEmpty {
            notes.append("which GPUs this machine has is not known, so whether those of 'gpus' exist was not checked")
        }
        if self.plan.strategy == .rolling {
            let count = self.plan.waves.count
            notes.append(
                "\(count) wave\(count == 1 ? "" : "s"); at least \(self.plan.floor) of the workers of both generations stay ready"
            )
            if self.settings.steps != MigrationSettings().steps {
                notes.append("'steps' have no meaning with 'rolling': the share follows the workers")
            }
        }
        if self.plan.strategy == .recreate {
            notes.append("there is no way back without another gap: \(self.old.name) would have to be started anew")
        }
        for name in self.sharedVariables() {
            notes.append(
                "\(name) is the same in both generations; if a process binds that port, the two cannot run at the same time"
            )
        }
        return notes
    }

    /// Variables that sound like ports, have the same number in both, and were written by hand.
    private func sharedVariables() -> [String] {
        guard self.plan.strategy != .recreate else { return [] }
        func ports(_ side: MigrationPlan.Side) -> Set<String> {
            Set(
                side.plan.replicas.flatMap(\.environment)
                    .filter {
                        $0.source == .manifest && $0.name.hasSuffix("_PORT") && Int($0.value) != nil && !$0.secret
                    }
                    .map { "\($0.name)=\($0.value)" }
            )
        }
        return ports(self.old).intersection(ports(self.new)).sorted()
    }

    private static func count(_ items: [ReplicaPlan], _ noun: String) -> String {
        "\(items.count) \(noun)\(items.count == 1 ? "" : "es")"
    }
}
