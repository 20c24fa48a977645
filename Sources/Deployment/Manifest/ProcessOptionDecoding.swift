// The keys of a process that are independent of what it runs.

extension ProcessDecoder {
    // MARK: Ports

    mutating func ports(_ node: ManifestNode) -> [PortManifest] {
        guard let entries = self.node.entries(node, "'ports'") else { return [] }
        return entries.compactMap { entry in
            guard entry.key.wholeMatch(of: /[a-z][a-z0-9-]{0,30}/) != nil else {
                self.node.error(
                    at: entry.keyLocation,
                    "'\(Spelling.excerpt(entry.key))' is no name of a port",
                    remedy: "use lower-case letters, digits and '-', such as http, system or kv-events"
                )
                return nil
            }
            let name = Located(entry.key, entry.keyLocation)
            let what = "port '\(entry.key)'"
            guard let scalar = self.node.scalar(entry.value, what, wanted: "a number or auto") else { return nil }
            let location = entry.value.location
            if scalar.value.text == "auto" {
                return PortManifest(name: name, number: .automatic, location: location)
            }
            if scalar.value.text.contains("{{") {
                return self.node.template(scalar, what, names: ["index", "replicas"]).map {
                    PortManifest(name: name, number: .fixed($0.value), location: location)
                }
            }
            if scalar.value.text == "0" {
                self.node.error(
                    at: location,
                    "\(what) is 0, so nobody would know it",
                    remedy: "write 'auto' to have one chosen"
                )
                return nil
            }
            guard Int(scalar.value.text) != nil else {
                self.node.error(
                    at: location,
                    "\(what) must be a number or auto, not '\(scalar.value.shown)'",
                    remedy: "write 1 to 65535, auto, or a calculation such as \"{{8081 + index}}\""
                )
                return nil
            }
            let limit = entry.key == "system" ? PortRules.systemLimit : 65535
            return self.node.integer(entry.value, what, in: 1...limit).map {
                PortManifest(name: name, number: .fixed(Template(literal: String($0.value))), location: location)
            }
        }
    }

    // MARK: GPUs

    mutating func gpus(_ node: ManifestNode, replicas: Int) -> GPUManifest? {
        switch node.content {
        case .sequence(let items):
            let isNested = items.contains { if case .sequence = $0.content { true } else { false } }
            guard isNested else { return self.devices(items, replicas: replicas, at: node.location) }
            return self.deviceLists(items, replicas: replicas, at: node.location)
        case .scalar(let scalar) where Int(scalar.text) != nil:
            return self.node.integer(node, "'gpus'", in: 0...64).map {
                GPUManifest(selection: .count($0.value), location: node.location)
            }
        default:
            self.node.wrongType(
                node,
                "'gpus'",
                wanted: "a number or a list of devices",
                remedy: "write 1 for one device for each replica, or [0, 1] for these two"
            )
            return nil
        }
    }

    private mutating func devices(_ items: [ManifestNode], replicas: Int, at location: Location) -> GPUManifest? {
        let devices = self.deviceNames(items)
        guard devices.count == items.count else { return nil }
        guard replicas == 0 || devices.count % replicas == 0 else {
            self.node.error(
                at: location,
                "\(devices.count) devices cannot be shared out evenly among \(replicas) replicas",
                remedy: "list a multiple of \(replicas) devices, or one list for each replica: [[0, 1], [2, 3]]"
            )
            return nil
        }
        return GPUManifest(selection: .devices(devices), location: location)
    }

    private mutating func deviceLists(_ items: [ManifestNode], replicas: Int, at location: Location) -> GPUManifest? {
        var lists: [[String]] = []
        for item in items {
            guard let inner = self.node.items(item, "an item of 'gpus'") else { return nil }
            lists.append(self.deviceNames(inner))
        }
        guard lists.count == replicas else {
            self.node.error(
                at: location,
                "'gpus' has \(lists.count) lists for \(replicas) replicas",
                remedy: "write one list of devices for each replica"
            )
            return nil
        }
        return GPUManifest(selection: .lists(lists), location: location)
    }

    private mutating func deviceNames(_ items: [ManifestNode]) -> [String] {
        var seen: Set<String> = []
        return items.compactMap { item in
            guard let name = self.node.text(item, "an item of 'gpus'") else { return nil }
            guard name.value.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9:\/._-]*/) != nil else {
                self.node.error(
                    at: name.location,
                    "'\(Spelling.excerpt(name.value))' is no device",
                    remedy: "write a number such as 0, or an identifier such as GPU-8f3c"
                )
                return nil
            }
            guard seen.insert(name.value).inserted else {
                self.node.error(
                    at: name.location,
                    "device \(name.value) is listed twice",
                    remedy: "keep one of the two"
                )
                return nil
            }
            return name.value
        }
    }

    // MARK: Dependencies

    mutating func dependencies(_ node: ManifestNode) -> [DependencyManifest] {
        switch node.content {
        case .sequence:
            return self.node.texts(node, "'dependsOn'").map { DependencyManifest(process: $0, layer: nil) }
        case .mapping(let entries):
            return entries.compactMap { entry in
                guard let layer = self.node.choice(entry.value, "the readiness layer", ReadinessLayer.self) else {
                    return nil
                }
                return DependencyManifest(process: Located(entry.key, entry.keyLocation), layer: layer)
            }
        default:
            self.node.wrongType(
                node,
                "'dependsOn'",
                wanted: "a list of processes, or a mapping of process to layer",
                remedy: "write [frontend], or {frontend: health}"
            )
            return []
        }
    }

    // MARK: Timing, restart, stop

    mutating func timing(_ node: ManifestNode) -> ProbeTiming {
        var timing = ProbeTiming()
        guard let fields = self.node.fields(node, of: "'timing'", keys: ManifestKey.timing) else { return timing }
        if let value = self.duration(fields, "startupInterval", "timing") { timing.startupInterval = value }
        if let value = self.duration(fields, "steadyInterval", "timing") { timing.steadyInterval = value }
        if let value = self.duration(fields, "probeTimeout", "timing") { timing.probeTimeout = value }
        if let entry = fields["startupTimeout"] {
            if self.isNone(entry.value) {
                timing.startupTimeout = nil
            } else if let value = self.duration(fields, "startupTimeout", "timing") {
                timing.startupTimeout = value
            }
        }
        if let entry = fields["failureThreshold"],
            let value = self.node.integer(entry.value, "'timing.failureThreshold'", in: 1...1000)
        {
            timing.failureThreshold = value.value
        }
        return timing
    }

    mutating func restart(_ node: ManifestNode) -> RestartPolicy {
        var restart = RestartPolicy()
        guard case .mapping = node.content else {
            if let policy = self.node.choice(node, "'restart'", RestartPolicy.Condition.self) {
                restart.condition = policy.value
            }
            return restart
        }
        guard let fields = self.node.fields(node, of: "'restart'", keys: ManifestKey.restart) else { return restart }
        if let policy = fields["policy"].flatMap({
            self.node.choice($0.value, "'restart.policy'", RestartPolicy.Condition.self)
        }) {
            restart.condition = policy.value
        }
        if let value = self.duration(fields, "initialDelay", "restart", allowsZero: true) {
            restart.initialDelay = value
        }
        if let value = self.duration(fields, "maxDelay", "restart", allowsZero: true) {
            restart.maximumDelay = value
        } else {
            restart.maximumDelay = max(restart.maximumDelay, restart.initialDelay)
        }
        if let value = self.duration(fields, "stableAfter", "restart", allowsZero: true) { restart.stableAfter = value }
        if let entry = fields["jitter"] { self.jitter(entry.value, &restart) }
        if let entry = fields["maxRestarts"] {
            if self.isNone(entry.value) {
                restart.maximumRestarts = nil
            } else if let value = self.node.integer(entry.value, "'restart.maxRestarts'", in: 0...1_000_000) {
                restart.maximumRestarts = value.value
            }
        }
        if restart.initialDelay > restart.maximumDelay, let entry = fields["initialDelay"] {
            self.node.error(
                at: entry.value.location,
                "'restart.initialDelay' is longer than 'restart.maxDelay'",
                remedy: "make 'maxDelay' at least as long as 'initialDelay'"
            )
        }
        return restart
    }

    private mutating func jitter(_ node: ManifestNode, _ restart: inout RestartPolicy) {
        guard let scalar = self.node.scalar(node, "'restart.jitter'", wanted: "a number from 0 to 1") else { return }
        guard let value = Double(scalar.value.text), value >= 0, value <= 1 else {
            self.node.error(
                at: node.location,
                "'restart.jitter' must be a number from 0 to 1, not '\(scalar.value.shown)'",
                remedy: "write the share of the delay that is drawn at random, such as 0.1"
            )
            return
        }
        restart.jitter = value
    }

    mutating func stop(_ node: ManifestNode) -> StopPlan {
        var stop = StopPlan()
        guard let fields = self.node.fields(node, of: "'stop'", keys: ManifestKey.stop) else { return stop }
        if let entry = fields["signal"], let scalar = self.node.scalar(entry.value, "'stop.signal'") {
            if let signal = ProcessSignal(ending: scalar.value.text) {
                stop.signal = signal.number
                stop.signalName = signal.name
            } else {
                let names = ProcessSignal.ending.map(ProcessSignal.name)
                let nearest = Spelling.nearest(to: scalar.value.text, among: names)
                self.node.error(
                    at: entry.value.location,
                    "'stop.signal' cannot be '\(scalar.value.shown)'",
                    remedy: "write \(nearest ?? names.joined(separator: ", "))"
                )
            }
        }
        if let value = self.duration(fields, "grace", "stop", allowsZero: true) { stop.grace = value }
        return stop
    }

    private mutating func duration(
        _ fields: [String: ManifestNode.Entry],
        _ key: String,
        _ parent: String,
        allowsZero: Bool = false
    ) -> Double? {
        fields[key].flatMap { self.node.duration($0.value, "'\(parent).\(key)'", allowsZero: allowsZero) }
    }

    private func isNone(_ node: ManifestNode) -> Bool {
        if case .scalar(let scalar) = node.content { scalar.text == "none" } else { false }
    }
}
