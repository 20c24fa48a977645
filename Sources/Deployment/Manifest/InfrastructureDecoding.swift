extension ManifestDecoder {
    /// The NATS server and the etcd cluster.
    mutating func infrastructure(_ node: ManifestNode?) -> (nats: ServiceManifest?, etcd: ServiceManifest?) {
        guard let node,
            let fields = self.node.fields(node, of: "'infrastructure'", keys: ManifestKey.infrastructure)
        else { return (nil, nil) }
        return (
            fields["nats"].map { self.service($0.value, "nats", keys: ManifestKey.nats) },
            fields["etcd"].map { self.service($0.value, "etcd", keys: ManifestKey.etcd) }
        )
    }

    /// A server; one without addresses after a complaint, so that nobody complains that there is none.
    private mutating func service(_ node: ManifestNode, _ name: String, keys: [String]) -> ServiceManifest {
        let nowhere = ServiceManifest(source: .external([]), location: node.location)
        let example = name == "nats" ? "nats://localhost:4222" : "http://localhost:2379"
        switch node.content {
        case .scalar(let scalar) where scalar.text == "managed":
            return ServiceManifest(source: .managed(ManagedService(arguments: [])), location: node.location)
        case .scalar(let scalar) where scalar.text.contains("://"):
            return self.external([Located(scalar.text, node.location)], name, at: node.location)
        case .mapping:
            break
        default:
            self.node.wrongType(
                node,
                "'infrastructure.\(name)'",
                wanted: "'managed', a URL or a mapping",
                remedy: "write 'managed' to have it started, or its address such as '\(example)'"
            )
            return nowhere
        }
        let label = "'infrastructure.\(name)'"
        guard let fields = self.node.fields(node, of: label, keys: keys) else { return nowhere }
        let managed = fields["managed"].flatMap { self.node.boolean($0.value, "'infrastructure.\(name).managed'") }
        if let url = fields["url"] {
            for key in keys where key != "url" && key != "managed" {
                guard let entry = fields[key] else { continue }
                self.node.error(
                    at: entry.keyLocation,
                    "'\(key)' belongs to a managed \(name), and 'url' names one that runs elsewhere",
                    remedy: "remove 'url' or '\(key)'"
                )
            }
            if managed == true {
                self.node.error(
                    at: url.keyLocation,
                    "\(name) is both managed and external",
                    remedy: "keep 'managed: true' to have it started, or 'url' for one that runs elsewhere"
                )
                return nowhere
            }
            let urls: [Located<String>]
            if case .sequence = url.value.content, name == "etcd" {
                urls = self.node.texts(url.value, "'infrastructure.etcd.url'")
            } else {
                urls = self.node.text(url.value, "'infrastructure.\(name).url'").map { [$0] } ?? []
            }
            return self.external(urls, name, at: node.location)
        }
        guard managed ?? (fields["managed"] == nil) else {
            self.node.error(
                at: node.location,
                "\(name) is not managed and has no address",
                remedy: "write 'managed: true' to have it started, or 'url: \(example)'"
            )
            return nowhere
        }
        return ServiceManifest(source: .managed(self.managed(fields, name)), location: node.location)
    }

    private mutating func managed(_ fields: [String: ManifestNode.Entry], _ name: String) -> ManagedService {
        var service = ManagedService(arguments: [])
        service.port = fields["port"].flatMap { self.leasable($0.value, "'infrastructure.\(name).port'") }
        service.peerPort = fields["peerPort"].flatMap { self.leasable($0.value, "'infrastructure.\(name).peerPort'") }
        service.jetstream = fields["jetstream"].flatMap {
            self.node.boolean($0.value, "'infrastructure.nats.jetstream'")
        }
        if let args = fields["args"], let items = self.node.items(args.value, "'infrastructure.\(name).args'") {
            service.arguments = items.compactMap {
                self.node.template($0, "an argument of \(name)", names: ["namespace", "port.client"])?.value
            }
        }
        return service
    }

    /// A port, or nil for `auto` (and after a complaint).
    private mutating func leasable(_ node: ManifestNode, _ what: String) -> Located<Int>? {
        if case .scalar(let scalar) = node.content, scalar.text == "auto" { return nil }
        return self.node.port(node, what)
    }

    private mutating func external(
        _ urls: [Located<String>],
        _ name: String,
        at location: Location
    ) -> ServiceManifest {
        let valid = urls.filter { name == "nats" ? self.checkedNATS(url: $0) : self.checkedEtcd(url: $0) }
        return ServiceManifest(source: .external(valid), location: location)
    }

    // MARK: Addresses

    mutating func checkedNATS(url: Located<String>) -> Bool {
        let shown = Spelling.excerpt(Secrets.masking(url: url.value))
        guard url.value.hasPrefix("nats://") else {
            self.node.error(
                at: url.location,
                "the NATS address '\(shown)' does not begin with nats://, and Dynamo takes no other",
                remedy: "write nats://HOST:PORT"
            )
            return false
        }
        return self.checked(url: url, scheme: "nats://", example: "nats://localhost:4222")
    }

    mutating func checkedEtcd(url: Located<String>) -> Bool {
        let shown = Spelling.excerpt(Secrets.masking(url: url.value))
        for scheme in ["http://", "https://"] where url.value.hasPrefix(scheme) {
            return self.checked(url: url, scheme: scheme, example: "http://localhost:2379")
        }
        self.node.error(
            at: url.location,
            "the etcd address '\(shown)' does not begin with http:// or https://",
            remedy: "write http://HOST:2379"
        )
        return false
    }

    private mutating func checked(url: Located<String>, scheme: String, example: String) -> Bool {
        let shown = Spelling.excerpt(Secrets.masking(url: url.value))
        let rest = url.value.dropFirst(scheme.count)
        if rest.contains("@") {
            let variables =
                scheme == "nats://"
                ? "NATS_AUTH_USERNAME and NATS_AUTH_PASSWORD" : "ETCD_AUTH_USERNAME and ETCD_AUTH_PASSWORD"
            self.node.error(
                at: url.location,
                "the address '\(shown)' has a user in it, which Dynamo does not use",
                remedy: "remove what is before '@' and set \(variables) in 'env'"
            )
            return false
        }
        if let address = AddressText.split(String(rest.hasSuffix("/") ? rest.dropLast() : rest)), !address.host.isEmpty
        {
            return true
        }
        self.node.error(
            at: url.location,
            "'\(shown)' is not an address of a host and a port",
            remedy: "write it like \(example)"
        )
        return false
    }
}

/// `host:port` as text.
package enum AddressText {
    /// The host and, if there is one, the port; nil when the text is neither.
    static func split(_ text: String) -> (host: String, port: Int?)? {
        guard
            !text.contains(where: { $0.isWhitespace || $0 == "/" || $0 == "@" || $0 == "," || $0 == "?" || $0 == "#" })
        else {
            return nil
        }
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { return nil }
            let host = String(text[...close])
            let rest = text[text.index(after: close)...]
            if rest.isEmpty { return (host, nil) }
            guard rest.first == ":", let port = self.port(rest.dropFirst()) else { return nil }
            return (host, port)
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        switch parts.count {
        case 1: return (text, nil)
        case 2: return self.port(parts[1]).map { (String(parts[0]), $0) }
        default: return nil
        }
    }

    private static func port(_ text: Substring) -> Int? {
        guard let number = Int(text), (1...65535).contains(number) else { return nil }
        return number
    }
}
