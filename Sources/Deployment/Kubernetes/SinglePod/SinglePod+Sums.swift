internal import OrderedCollections

/// What all processes of a pod need together.
extension SinglePod {
    /// Requests and limits of the whole pod; a resource that is shared is limited only where every process limits it.
    var resources: YAMLValue? {
        let processes = self.plan.processes.filter { $0.replicas > 0 }
        var limits: [String: String] = [:]
        for name in Set(processes.flatMap(\.settings.limits.keys))
        where KubernetesName.isExclusive(name) || processes.allSatisfy({ $0.settings.limits[name] != nil }) {
            limits[name] = self.sum(name) { $0.limits[name] }
        }
        for (name, count) in self.devices { limits[name] = String(count) }
        var requests: [String: String] = [:]
        let requested = Set(processes.flatMap(\.settings.requests.keys))
        let limited = Set(processes.flatMap(\.settings.limits.keys)).subtracting(limits.keys)
        // Of what cannot be shared the limit is the request.
        for name in requested.union(limited) where !KubernetesName.isExclusive(name) {
            // What one process is limited to and does not request, it is given.
            requests[name] = self.sum(name) { $0.requests[name] ?? $0.limits[name] }
        }
        return PlainContainer.resources(requests: requests, limits: limits)
    }

    /// How many of each resource that stands for a device.
    private var devices: [String: Int] {
        var devices: [String: Int] = [:]
        for process in self.plan.processes where process.gpus > 0 && process.replicas > 0 {
            devices[process.gpuResource, default: 0] += process.gpus * process.replicas
        }
        return devices
    }

    /// `/dev/shm` is one for all.
    var sharedMemory: String? {
        let sizes = self.plan.processes.compactMap { process in
            PodVolumes(process).sharedMemory.flatMap { KubernetesName.amount($0) }.map { $0 * Double(process.replicas) }
        }
        let total = sizes.reduce(0, +)
        return total > 0 ? Self.text(total, of: "memory") : nil
    }

    private func sum(_ resource: String, _ amount: (ProcessKubernetesSettings) -> String?) -> String {
        let total = self.plan.processes.reduce(0.0) { total, process in
            total + (amount(process.settings).flatMap { KubernetesName.amount($0) } ?? 0) * Double(process.replicas)
        }
        return Self.text(total, of: resource)
    }

    /// An amount without rounding it down.
    private static func text(_ amount: Double, of resource: String) -> String {
        func whole(_ number: Double) -> String { String(Int(min(number.rounded(.up), 0x1p62))) }
        guard resource == "cpu" else {
            for (unit, size) in [("Gi", 0x1p30), ("Mi", 0x1p20), ("Ki", 0x1p10)]
            where amount >= size && amount.truncatingRemainder(dividingBy: size) == 0 {
                return whole(amount / size) + unit
            }
            return whole(amount)
        }
        // 0.1 is no binary fraction, so a thousandth of a thousandth does not count.
        let thousandths = (amount * 1e6).rounded() / 1000
        return thousandths.truncatingRemainder(dividingBy: 1000) == 0
            ? whole(thousandths / 1000) : "\(whole(thousandths))m"
    }

    // MARK: Places and volumes

    var nodeSelector: [String: String] {
        self.plan.processes.reduce(into: [:]) { $0.merge($1.settings.nodeSelector) { first, _ in first } }
    }

    var tolerations: [ProcessKubernetesSettings.Toleration] {
        Array(OrderedSet(self.plan.processes.flatMap(\.settings.tolerations)))
    }

    var ownVolumes: [ProcessKubernetesSettings.Volume] {
        Array(OrderedSet(self.plan.processes.flatMap(\.settings.volumes)))
    }

    /// Ours write nothing outside their folders; others may.
    var isRootWritable: Bool { self.plan.processes.contains { PlainPod.isRootWritable($0) } }

    /// What the processes want differently of the one pod that they share.
    var placeTroubles: [Diagnostic] {
        var troubles: [(String, String)] = []
        let labels = Dictionary(grouping: self.plan.processes.flatMap { $0.settings.nodeSelector.map { $0 } }) {
            $0.key
        }
        for (key, values) in labels where Set(values.map(\.value)).count > 1 {
            troubles.append(
                (
                    "the processes want nodes with different values of '\(key)', and they share one",
                    "write one 'nodeSelector'"
                )
            )
        }
        let volumes = self.ownVolumes
        let taken = ["manifest", "state", "runtime", "tmp", "shared-memory"]
        let paths = [Self.folder, Self.state, Self.runtime, "/tmp"] + (self.sharedMemory == nil ? [] : ["/dev/shm"])
        for volume in volumes {
            if paths.contains(volume.path) {
                troubles.append(
                    ("the launcher has a volume of its own at '\(volume.path)' in the pod", "choose another 'path'")
                )
            }
            if taken.contains(volume.name) || volumes.count(where: { $0.name == volume.name }) > 1 {
                troubles.append(
                    ("there are two volumes '\(volume.name)' in the pod", "give one of them another 'name'")
                )
            }
            if volumes.count(where: { $0.path == volume.path }) > 1 {
                troubles.append(
                    ("there are two volumes at '\(volume.path)' in the pod", "give one of them another 'path'")
                )
            }
        }
        let place = self.manifest.processes.first?.name.location ?? self.manifest.name.location
        return OrderedSet(troubles.map(\.0)).map { message in
            Diagnostic(
                at: place,
                message,
                remedy: "\(troubles.first { $0.0 == message }?.1 ?? ""), or generate without --single-pod"
            )
        }
    }

    // MARK: Notes

    var imageNotes: [String] {
        let others = self.plan.processes.filter { $0.program != .ours }.map(\.name)
        guard !others.isEmpty else { return [] }
        return [
            "the image \(self.image) must have the programs of \(others.joined(separator: ", ")) beside dynamo-launch "
                + "(docs/images.md says how to make one)"
                + (self.plan.settings.images.launcher == nil
                    ? ": name yours under 'kubernetes.images.launcher', since this one has only our own" : "")
        ]
    }

    /// Keys that have no meaning in one pod.
    var ignoredNotes: [String] {
        var keys: [String] = []
        for process in self.plan.processes {
            if process.settings.autoscaling != nil { keys.append("autoscaling of \(process.process)") }
            if process.settings.image != nil { keys.append("image of \(process.process)") }
        }
        let settings = self.plan.settings
        if settings.images.dynamo != nil { keys.append("images.dynamo") }
        return keys.isEmpty ? [] : ["one pod has no use for \(OrderedSet(keys).joined(separator: ", "))"]
    }
}
