// What the deployment is in a cluster. Nothing of it has a meaning on this machine.

extension ManifestDecoder {
    /// - Returns: what the manifest says of clusters, with defaults for the rest.
    mutating func kubernetes(_ node: ManifestNode) -> KubernetesSettings {
        var settings = KubernetesSettings()
        guard let fields = self.node.fields(node, of: "'kubernetes'", keys: ManifestKey.kubernetes) else {
            return settings
        }
        settings.namespace = fields["namespace"].flatMap { self.node.label($0.value, "'kubernetes.namespace'") }
        self.creation(fields, &settings)
        if let images = fields["images"] { settings.images = self.images(images.value) }
        if let names = fields["imagePullSecrets"], let items = self.node.items(names.value, "'imagePullSecrets'") {
            settings.imagePullSecrets = items.compactMap { self.node.objectName($0, "an item of 'imagePullSecrets'") }
        }
        if let secrets = fields["secrets"] { self.secrets(secrets.value, &settings) }
        if let kind = fields["service"].flatMap({
            self.node.choice($0.value, "'kubernetes.service'", KubernetesSettings.ServiceKind.self)
        }) {
            settings.service = kind.value
        }
        settings.route = fields["route"].flatMap { self.route($0.value) }
        settings.discovery = fields["discovery"].flatMap {
            self.node.choice($0.value, "'kubernetes.discovery'", KubernetesSettings.Discovery.self)
        }
        if let creates = fields["createDefinition"].flatMap({
            self.node.boolean($0.value, "'kubernetes.createDefinition'")
        }) {
            settings.createsDefinition = creates
        }
        settings.nats = fields["nats"].flatMap { entry in
            self.node.text(entry.value, "'kubernetes.nats'").flatMap { self.checkedNATS(url: $0) ? $0 : nil }
        }
        if let etcd = fields["etcd"] {
            settings.etcd = self.node.texts(etcd.value, "'kubernetes.etcd'").filter { self.checkedEtcd(url: $0) }
        }
        if let storage = fields["storage"].flatMap({
            self.node.quantity($0.value, "'kubernetes.storage'", example: "8Gi")
        }) {
            settings.storage = storage.value
        }
        settings.storageClass =
            fields["storageClass"].flatMap { self.node.objectName($0.value, "'kubernetes.storageClass'") }?.value
        self.policies(fields, &settings)
        return settings
    }

    private mutating func creation(_ fields: [String: ManifestNode.Entry], _ settings: inout KubernetesSettings) {
        guard let entry = fields["createNamespace"],
            let creates = self.node.boolean(entry.value, "'kubernetes.createNamespace'")
        else { return }
        settings.createsNamespace = creates
        if creates, fields["namespace"] == nil {
            self.node.error(
                at: entry.keyLocation,
                "'createNamespace' does not know which: there is no 'namespace'",
                remedy: "add 'namespace: NAME' to 'kubernetes', or remove 'createNamespace'"
            )
        }
    }

    private mutating func images(_ node: ManifestNode) -> KubernetesSettings.Images {
        var images = KubernetesSettings.Images()
        let what = "'kubernetes.images'"
        guard let fields = self.node.fields(node, of: what, keys: ManifestKey.kubernetesImages) else { return images }
        func image(_ key: String) -> Located<String>? {
            fields[key].flatMap { self.node.image($0.value, "'kubernetes.images.\(key)'") }
        }
        images.dynamo = image("dynamo")
        images.launcher = image("launcher")
        images.nats = image("nats")
        images.etcd = image("etcd")
        return images
    }

    /// Where values of variables come from, and never the values.
    private mutating func secrets(_ node: ManifestNode, _ settings: inout KubernetesSettings) {
        guard let entries = self.node.entries(node, "'kubernetes.secrets'") else { return }
        for entry in entries {
            let what = "the secret of '\(Spelling.excerpt(entry.key))'"
            guard self.node.checked(variable: entry.key, at: entry.keyLocation) else { continue }
            if case .scalar(let scalar) = entry.value.content {
                if scalar.text == "false" {
                    settings.publicVariables.insert(entry.key)
                    continue
                }
                // It may well be the value, so it is not shown.
                self.node.error(
                    at: entry.value.location,
                    "\(what) must be a mapping that names a Secret of the cluster; a manifest never has the value itself",
                    remedy: "write {secret: NAME, key: \(entry.key)}, or 'false' if '\(entry.key)' is no secret"
                )
                continue
            }
            guard let fields = self.node.fields(entry.value, of: what, keys: ManifestKey.kubernetesSecret) else {
                continue
            }
            if fields["secret"] == nil {
                self.node.error(
                    at: entry.value.location,
                    "\(what) does not name a Secret",
                    remedy: "add 'secret: NAME'"
                )
            }
            var key = entry.key
            if let text = fields["key"].flatMap({ self.node.text($0.value, "'key'") }) {
                key = text.value
                if !KubernetesName.isDataKey(key) {
                    self.node.error(
                        at: text.location,
                        "'\(Spelling.excerpt(key))' is no key of a Secret",
                        remedy: "use at most 253 letters, digits, '-', '_' and '.'"
                    )
                }
            }
            guard let name = fields["secret"].flatMap({ self.node.objectName($0.value, "'secret'") }) else { continue }
            settings.secrets[entry.key] = KubernetesSettings.SecretKey(secret: name.value, key: key)
        }
    }

    private mutating func route(_ node: ManifestNode) -> KubernetesSettings.Route? {
        let what = "'kubernetes.route'"
        guard let fields = self.node.fields(node, of: what, keys: ManifestKey.kubernetesRoute) else { return nil }
        if fields["gateway"] == nil {
            self.node.error(
                at: node.location,
                "\(what) names no Gateway",
                remedy: "add 'gateway: NAME', a Gateway of the Gateway API"
            )
        }
        let gateway = fields["gateway"].flatMap { self.node.objectName($0.value, "'gateway'") }
        let namespace = fields["gatewayNamespace"].flatMap { self.node.label($0.value, "'gatewayNamespace'") }
        var hostnames: [String] = []
        for name in fields["hostnames"].map({ self.node.texts($0.value, "'hostnames'") }) ?? [] {
            let plain = name.value.hasPrefix("*.") ? name.value.dropFirst(2) : name.value[...]
            let isAddress = plain.allSatisfy { $0 == "." || $0.isNumber }
            if KubernetesName.isSubdomain(plain), !isAddress {
                hostnames.append(name.value)
            } else {
                self.node.error(
                    at: name.location,
                    "'\(Spelling.excerpt(name.value))' is no host's name that a Gateway takes",
                    remedy: "write a name such as chat.example.com or *.example.com, without a port"
                )
            }
        }
        return gateway.map {
            KubernetesSettings.Route(gateway: $0.value, gatewayNamespace: namespace?.value, hostnames: hostnames)
        }
    }
}
