extension ProcessDecoder {
    private static let sources = ["claim", "secret", "configMap", "empty"]

    /// The volumes of a process in a cluster.
    mutating func volumes(_ node: ManifestNode) -> [ProcessKubernetesSettings.Volume] {
        guard let items = self.node.items(node, "'volumes'") else { return [] }
        var volumes: [ProcessKubernetesSettings.Volume] = []
        for item in items {
            guard let volume = self.volume(item) else { continue }
            if volumes.contains(where: { $0.name == volume.name }) {
                self.node.error(
                    at: item.location,
                    "there are two volumes '\(volume.name)'",
                    remedy: "give one of them another 'name'"
                )
            }
            if volumes.contains(where: { $0.path == volume.path }) {
                self.node.error(
                    at: item.location,
                    "there are two volumes at '\(Spelling.excerpt(volume.path))'",
                    remedy: "give one of them another 'path'"
                )
            }
            volumes.append(volume)
        }
        return volumes
    }

    private mutating func volume(_ node: ManifestNode) -> ProcessKubernetesSettings.Volume? {
        let what = "an item of 'volumes'"
        guard let fields = self.node.fields(node, of: what, keys: ManifestKey.kubernetesVolume) else { return nil }
        for (key, remedy) in [("name", "add 'name: NAME'"), ("path", "add 'path: /FOLDER', where it is seen")]
        where fields[key] == nil {
            self.node.error(at: node.location, "\(what) has no '\(key)'", remedy: remedy)
        }
        let name = fields["name"].flatMap { self.node.label($0.value, "'name' of a volume") }
        let path = fields["path"].flatMap { self.mountPath($0.value) }
        let readOnly = fields["readOnly"].flatMap { self.node.boolean($0.value, "'readOnly'") }
        let given = Self.sources.compactMap { fields[$0] }
        guard given.count == 1, let entry = given.first else {
            self.node.error(
                at: node.location,
                given.isEmpty
                    ? "\(what) does not say where it comes from"
                    : "\(what) comes from \(given.count) places (\(given.map(\.key).joined(separator: ", ")))",
                remedy: "write one of 'claim: NAME', 'secret: NAME', 'configMap: NAME' and 'empty: true'"
            )
            return nil
        }
        guard let source = self.source(entry), let name, let path else { return nil }
        var isReadOnly = readOnly ?? false
        switch source {
        case .secret, .configMap:
            if readOnly == false {
                self.node.error(
                    at: fields["readOnly"]?.value.location ?? node.location,
                    "nobody can write to a volume of a \(entry.key)",
                    remedy: "remove 'readOnly'"
                )
            }
            isReadOnly = true
        case .claim, .empty: break
        }
        return ProcessKubernetesSettings.Volume(
            name: name.value,
            path: path.value,
            source: source,
            isReadOnly: isReadOnly
        )
    }

    private mutating func source(_ entry: ManifestNode.Entry) -> ProcessKubernetesSettings.Volume.Source? {
        switch entry.key {
        case "claim": return self.node.objectName(entry.value, "'claim'").map { .claim($0.value) }
        case "secret": return self.node.objectName(entry.value, "'secret'").map { .secret($0.value) }
        case "configMap": return self.node.objectName(entry.value, "'configMap'").map { .configMap($0.value) }
        default:
            if case .scalar(let scalar) = entry.value.content, scalar.text == "true" { return .empty(nil) }
            return self.node.quantity(entry.value, "'empty'", example: "1Gi").map { .empty($0.value) }
        }
    }

    /// An absolute path without `:`, which the API server takes for the end of it.
    private mutating func mountPath(_ node: ManifestNode) -> Located<String>? {
        guard let path = self.node.text(node, "'path' of a volume") else { return nil }
        let parts = path.value.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        guard path.value.hasPrefix("/"), !path.value.contains(":"), !parts.contains(".."),
            parts.contains(where: { !$0.isEmpty })
        else {
            self.node.error(
                at: path.location,
                "'path' of a volume cannot be '\(Spelling.excerpt(path.value))'",
                remedy: "write an absolute path of a folder, without ':' and '..'"
            )
            return nil
        }
        // `/a` and `/a/` are one place.
        let normal = "/" + parts.filter { !$0.isEmpty && $0 != "." }.joined(separator: "/")
        guard normal != "/dev/shm" else {
            self.node.error(
                at: path.location,
                "'/dev/shm' is the container's shared memory",
                remedy: "write 'sharedMemory: SIZE' instead of a volume"
            )
            return nil
        }
        return Located(normal, path.location)
    }
}
