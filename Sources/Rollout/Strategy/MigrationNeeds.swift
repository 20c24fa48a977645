internal import Deployment

/// What two generations must not share, and what they must.
struct MigrationNeeds: Sendable, Hashable {
    let old: MigrationPlan.Side
    let new: MigrationPlan.Side
    let devices: KnownDevices

    /// What keeps one generation from following the other, each with a place and a remedy.
    func refusals(for strategy: MigrationSettings.Strategy) -> [String] {
        var refusals = self.publicPort() + self.missingDevices()
        if self.old.plan.deployment != self.new.plan.deployment {
            refusals.append(
                Self.refusal(
                    self.place,
                    "the deployment is called '\(self.new.plan.deployment)', and '\(self.old.plan.deployment)' is what runs",
                    "write 'name: \(self.old.plan.deployment)', or start the other one with 'dynamo-launch up' beside it"
                )
            )
        }
        guard strategy != .recreate else { return refusals }
        refusals += self.namespaces()
        let isRolling = strategy == .rolling
        let places = Places(self.old.plan.replicas, self.devices)
        for later in self.new.plan.replicas {
            for index in places.conflicts(with: later).sorted() {
                let earlier = self.old.plan.replicas[index]
                // Workers change places in an order of their own.
                if isRolling, later.role == .worker, earlier.role == .worker { continue }
                refusals += self.conflicts(earlier, later, isRolling: isRolling)
            }
        }
        return refusals
    }

    /// Who has which GPU and which port.
    struct Places {
        private var devices: [String: Set<Int>] = [:]
        private var ports: [Int: Set<Int>] = [:]
        private let known: KnownDevices

        init(_ replicas: [ReplicaPlan], _ known: KnownDevices) {
            self.known = known
            for (index, replica) in replicas.enumerated() {
                for device in replica.gpus { self.devices[known.canonical(device), default: []].insert(index) }
                for port in MigrationNeeds.ports(of: replica) { self.ports[port, default: []].insert(index) }
            }
        }

        /// Positions of those that cannot run at the same time as another replica.
        func conflicts(with replica: ReplicaPlan) -> Set<Int> {
            let devices = replica.gpus.compactMap { self.devices[self.known.canonical($0)] }
            let ports = MigrationNeeds.ports(of: replica).compactMap { self.ports[$0] }
            return (devices + ports).reduce(into: []) { $0.formUnion($1) }
        }

        func hasDevice(_ name: String) -> Bool { self.devices[self.known.canonical(name)] != nil }

        /// The same of several.
        func conflicts(with replicas: [ReplicaPlan]) -> [Set<Int>] { replicas.map { self.conflicts(with: $0) } }
    }

    /// The numbers that a replica takes, whoever chose them.
    static func ports(of replica: ReplicaPlan) -> Set<Int> {
        Set(replica.ports.flatMap(\.numbers) + replica.listens.map(\.address.port)).subtracting([0])
    }

    /// GPUs that the new generation needs.
    var devicesNeeded: [String] { Self.unique(self.new.plan.replicas.flatMap(\.gpus)) }
    /// Those of them that the old one has.
    var devicesShared: [String] {
        let inUse = Set(self.old.plan.replicas.flatMap(\.gpus).map(self.devices.canonical))
        return self.devicesNeeded.filter { inUse.contains(self.devices.canonical($0)) }
    }

    private var place: String { self.new.plan.manifestPath ?? "the embedded manifest" }

    // MARK: Each of them

    private func publicPort() -> [String] {
        let way = "stop the deployment, change the manifest, and start it again: the launcher must have the public port"
        guard let before = self.old.plan.gateway else {
            return [
                Self.refusal(
                    self.old.plan.manifestPath ?? "the embedded manifest",
                    "\(self.old.name) has no gateway, so its frontend has the public port itself and nothing can move requests",
                    "add 'gateway: true'; \(way)"
                )
            ]
        }
        guard let after = self.new.plan.gateway else {
            return [
                Self.refusal(
                    self.place,
                    "\(self.new.name) has no gateway, and \(self.old.name) is served by one that stays",
                    "add 'gateway: true'"
                )
            ]
        }
        var refusals: [String] = []
        if self.old.plan.publicAddress != self.new.plan.publicAddress {
            let (from, to) = (self.old.plan.publicAddress, self.new.plan.publicAddress)
            refusals.append(
                Self.refusal(
                    self.place,
                    "the public address is \(to.host):\(to.port), and the gateway that stays has \(from.host):\(from.port)",
                    "write 'http: {host: \(from.host), port: \(from.port)}'"
                )
            )
        }
        if before != after {
            refusals.append(
                Self.refusal(
                    self.place,
                    "the settings under 'gateway' differ from those that \(self.old.name) was started with, and the gateway stays",
                    "write the same; to change them, stop the deployment and start it again"
                )
            )
        }
        return refusals
    }

    /// Dynamo's processes look up what begins with their namespace, so one must not be the beginning of the other.
    private func namespaces() -> [String] {
        let (before, after) = (self.old.plan.namespace, self.new.plan.namespace)
        guard before.hasPrefix(after) || after.hasPrefix(before) || before == "dynamo" || after == "dynamo" else {
            return []
        }
        return [
            Self.refusal(
                self.place,
                "the namespaces '\(before)' of \(self.old.name) and '\(after)' of \(self.new.name) are not apart: "
                    + "one is the beginning of the other, or means all of them",
                "write another 'namespace', such as '\(after == "dynamo" ? self.new.plan.deployment : after)-next', or use 'recreate'"
            )
        ]
    }

    private func missingDevices() -> [String] {
        var refusals: [String] = []
        for replica in self.new.plan.replicas {
            let missing = Self.unique(replica.gpus).filter(self.devices.lacks)
            guard !missing.isEmpty else { continue }
            let indexes = self.devices.indexes ?? []
            // By the kind of name that was written.
            let isIndex = missing.contains { Int($0) != nil }
            let names = isIndex ? indexes : indexes.compactMap { self.devices.identifiers[$0] }
            let there = names.isEmpty ? "none" : names.joined(separator: ", ")
            refusals.append(
                Self.refusal(
                    replica.origin ?? self.place,
                    "\(replica.name) of \(self.new.name) needs \(Self.list(missing, "GPU")), and this machine has \(there)",
                    "change 'gpus' of process '\(replica.process)'"
                )
            )
        }
        return refusals
    }

    private func conflicts(_ earlier: ReplicaPlan, _ later: ReplicaPlan, isRolling: Bool) -> [String] {
        var refusals: [String] = []
        let place = later.origin ?? self.place
        let places = Places([earlier], self.devices)
        let devices = Self.unique(later.gpus).filter(places.hasDevice)
        if !devices.isEmpty {
            refusals.append(
                Self.refusal(
                    place,
                    "\(later.name) of \(self.new.name) needs \(Self.list(devices, "GPU")), which \(earlier.name) of \(self.old.name) has",
                    isRolling
                        ? "give it others under 'gpus', or use 'recreate'"
                        : "give it others under 'gpus', or use 'rolling' (worker by worker) or 'recreate'"
                )
            )
        }
        for port in Self.ports(of: earlier).intersection(Self.ports(of: later)).sorted() {
            let name = later.ports.first { $0.numbers.contains(port) }?.name ?? "http"
            let way =
                later.role == .worker && earlier.role == .worker
                ? "write 'auto' for the port '\(name)' of process '\(later.process)', or use 'rolling' or 'recreate'"
                : "write 'auto' for the port '\(name)' of process '\(later.process)', or use 'recreate'"
            refusals.append(
                Self.refusal(
                    place,
                    "\(later.name) of \(self.new.name) needs port \(port) ('\(name)'), which \(earlier.name) of \(self.old.name) has",
                    way
                )
            )
        }
        return refusals
    }

    // MARK: Words

    static func refusal(_ place: String, _ text: String, _ remedy: String) -> String {
        "\(place): \(text)\n  remedy: \(remedy)"
    }

    /// `GPU 0`, `GPUs 0, 1`.
    static func list(_ items: [String], _ noun: String) -> String {
        "\(noun)\(items.count == 1 ? "" : "s") \(items.joined(separator: ", "))"
    }

    static func unique<Element: Hashable>(_ items: [Element]) -> [Element] {
        var seen: Set<Element> = []
        return items.filter { seen.insert($0).inserted }
    }
}
