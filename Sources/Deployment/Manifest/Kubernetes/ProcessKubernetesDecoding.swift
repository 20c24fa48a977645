// What a process is in a cluster. Nothing of it has a meaning on this machine.

extension ProcessDecoder {
    /// Resources without a domain that a container can have.
    private static let resources = ["cpu", "memory", "ephemeral-storage"]

    /// - Returns: what the process says of clusters, with defaults for the rest.
    mutating func kubernetes(_ node: ManifestNode) -> ProcessKubernetesSettings {
        var settings = ProcessKubernetesSettings()
        guard let fields = self.node.fields(node, of: "'kubernetes'", keys: ManifestKey.processKubernetes) else {
            return settings
        }
        settings.image = fields["image"].flatMap { self.node.image($0.value, "'kubernetes.image'") }
        if let resource = fields["gpuResource"].flatMap({ self.node.text($0.value, "'gpuResource'") }) {
            settings.gpuResource = resource.value
            if !resource.value.contains("/") || !KubernetesName.isQualified(resource.value) {
                self.node.error(
                    at: resource.location,
                    "'gpuResource' cannot be '\(Spelling.excerpt(resource.value))'",
                    remedy: "write DOMAIN/NAME as the device plugin says it, such as nvidia.com/gpu or amd.com/gpu"
                )
            }
        }
        self.resources(fields, &settings)
        settings.sharedMemory =
            fields["sharedMemory"].flatMap { self.node.quantity($0.value, "'sharedMemory'", example: "8Gi") }?.value
        if let selector = fields["nodeSelector"] { settings.nodeSelector = self.nodeSelector(selector.value) }
        if let items = fields["tolerations"].flatMap({ self.node.items($0.value, "'tolerations'") }) {
            settings.tolerations = items.compactMap { self.toleration($0) }
        }
        if let volumes = fields["volumes"] { settings.volumes = self.volumes(volumes.value) }
        if let autoscaling = fields["autoscaling"] { settings.autoscaling = self.autoscaling(autoscaling, settings) }
        settings.writableRoot = fields["writableRoot"].flatMap { self.node.boolean($0.value, "'writableRoot'") }
        if let isPublic = fields["publicArguments"].flatMap({ self.node.boolean($0.value, "'publicArguments'") }) {
            settings.publicArguments = isPublic
        }
        return settings
    }

    // MARK: Resources

    private mutating func resources(
        _ fields: [String: ManifestNode.Entry],
        _ settings: inout ProcessKubernetesSettings
    ) {
        let limits = fields["limits"].map { self.amounts($0.value, "limits", gpu: settings.gpuResource) } ?? [:]
        let requests = fields["requests"].map { self.amounts($0.value, "requests", gpu: settings.gpuResource) } ?? [:]
        if let pages = (limits.merging(requests) { limit, _ in limit }).filter({ $0.key.hasPrefix("hugepages-") })
            .min(by: { $0.key < $1.key }), ["cpu", "memory"].allSatisfy({ limits[$0] == nil && requests[$0] == nil })
        {
            self.node.error(
                at: pages.value.location,
                "'\(pages.key)' needs an amount of processors or memory beside it",
                remedy: "add 'requests: {memory: AMOUNT}'"
            )
        }
        settings.limits = limits.mapValues(\.value)
        settings.requests = requests.mapValues(\.value)
        for (name, request) in requests.sorted(by: { $0.key < $1.key }) {
            guard let wanted = KubernetesName.amount(request.value) else { continue }
            let limit = limits[name].flatMap { KubernetesName.amount($0.value) }
            if let limit, wanted > limit {
                self.node.error(
                    at: request.location,
                    "'requests.\(name)' is more than 'limits.\(name)'",
                    remedy: "request at most what the limit allows, \(limits[name]?.value ?? "")"
                )
            } else if KubernetesName.isExclusive(name), limit != wanted {
                self.node.error(
                    at: request.location,
                    "'\(name)' cannot be shared, so a request for it needs the same limit",
                    remedy: "write it under 'limits' alone"
                )
            }
        }
    }

    private mutating func amounts(
        _ node: ManifestNode,
        _ key: String,
        gpu: String?
    ) -> [String: Located<String>] {
        guard let entries = self.node.entries(node, "'kubernetes.\(key)'") else { return [:] }
        var amounts: [String: Located<String>] = [:]
        for entry in entries {
            guard self.checked(resource: entry, key, gpu: gpu) else { continue }
            let example = entry.key == "cpu" ? "500m" : "8Gi"
            amounts[entry.key] = self.node.quantity(
                entry.value,
                "'\(key).\(entry.key)'",
                example: example,
                allowsZero: key == "requests"
            )
            if let given = amounts[entry.key], entry.key.contains("/"),
                let amount = KubernetesName.amount(given.value), amount != amount.rounded()
            {
                self.node.error(
                    at: given.location,
                    "'\(key).\(entry.key)' counts devices, so it cannot be '\(Spelling.excerpt(given.value))'",
                    remedy: "write a whole number"
                )
            }
        }
        return amounts
    }

    private mutating func checked(resource entry: ManifestNode.Entry, _ key: String, gpu: String?) -> Bool {
        let name = entry.key
        if [gpu ?? "nvidia.com/gpu", "nvidia.com/gpu", "gpu.intel.com/xe"].contains(name) {
            self.node.error(
                at: entry.keyLocation,
                "how many devices a container gets follows from 'gpus', not from '\(key)'",
                remedy: "remove '\(name)' here, and write 'gpus: NUMBER' for the process"
            )
            return false
        }
        let isKnown =
            Self.resources.contains(name) || name.hasPrefix("hugepages-") && KubernetesName.isLabelValue(name)
            || name.contains("/") && KubernetesName.isQualified(name)
        if !isKnown {
            let nearest = Spelling.nearest(to: name, among: Self.resources)
            self.node.error(
                at: entry.keyLocation,
                "'\(Spelling.excerpt(name))' is no resource of a container",
                remedy: nearest.map { "write '\($0)'" }
                    ?? "write cpu, memory, ephemeral-storage, hugepages-SIZE, or DOMAIN/NAME"
            )
        }
        return isKnown
    }

    private mutating func autoscaling(
        _ entry: ManifestNode.Entry,
        _ settings: ProcessKubernetesSettings
    ) -> ProcessKubernetesSettings.Autoscaling? {
        let keys = ManifestKey.kubernetesAutoscaling
        guard let fields = self.node.fields(entry.value, of: "'autoscaling'", keys: keys) else { return nil }
        let range = 1...10000
        let minimum = fields["min"].map { self.node.integer($0.value, "'autoscaling.min'", in: range) }
        let maximum = fields["max"].map { self.node.integer($0.value, "'autoscaling.max'", in: range) }
        let cpu = fields["cpu"].flatMap { self.node.integer($0.value, "'autoscaling.cpu'", in: 1...1000) }
        if maximum == nil {
            self.node.error(
                at: entry.value.location,
                "'autoscaling' has no 'max'",
                remedy: "add 'max: NUMBER', the most replicas that there may be"
            )
        }
        if settings.requests["cpu"] == nil, settings.limits["cpu"] == nil {
            self.node.error(
                at: entry.keyLocation,
                "'autoscaling' measures processors in percent of what is requested, and nothing is",
                remedy: "add 'requests: {cpu: NUMBER}' beside it"
            )
        }
        guard let most = maximum??.value else { return nil }
        let least = (minimum ?? nil)?.value ?? 1
        guard least <= most else {
            self.node.error(
                at: fields["min"]?.value.location ?? entry.value.location,
                "'autoscaling.min' is \(least), and 'max' is \(most)",
                remedy: "write a 'min' of at most \(most)"
            )
            return nil
        }
        return ProcessKubernetesSettings.Autoscaling(minimum: least, maximum: most, cpu: cpu?.value ?? 80)
    }

    // MARK: Nodes

    private mutating func nodeSelector(_ node: ManifestNode) -> [String: String] {
        guard let entries = self.node.entries(node, "'nodeSelector'") else { return [:] }
        var selector: [String: String] = [:]
        for entry in entries
        where self.node.checked(labelKey: Located(entry.key, entry.keyLocation), "a label of 'nodeSelector'") {
            selector[entry.key] = self.node.labelValue(
                entry.value,
                "the label '\(Spelling.excerpt(entry.key))' of 'nodeSelector'"
            )
        }
        return selector
    }

    private mutating func toleration(_ node: ManifestNode) -> ProcessKubernetesSettings.Toleration? {
        let what = "an item of 'tolerations'"
        guard let fields = self.node.fields(node, of: what, keys: ManifestKey.kubernetesToleration) else { return nil }
        if fields["key"] == nil {
            self.node.error(at: node.location, "\(what) has no 'key'", remedy: "add 'key: NAME', the key of the taint")
        }
        let value = fields["value"].flatMap { self.node.labelValue($0.value, "'value' of a toleration") }
        let effect = fields["effect"].flatMap { self.node.choice($0.value, "'effect'", TaintEffect.self) }
        guard let key = fields["key"].flatMap({ self.node.text($0.value, "'key' of a toleration") }),
            self.node.checked(labelKey: key, "'key' of a toleration")
        else { return nil }
        return ProcessKubernetesSettings.Toleration(key: key.value, value: value, effect: effect?.value.rawValue)
    }
}

/// What a taint does to pods that do not tolerate it.
enum TaintEffect: String, Sendable, CaseIterable {
    case noSchedule = "NoSchedule"
    case preferNoSchedule = "PreferNoSchedule"
    case noExecute = "NoExecute"
}
