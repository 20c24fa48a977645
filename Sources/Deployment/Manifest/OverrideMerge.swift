/// Puts the values of `--set` into the tree of a manifest.
struct OverrideMerge {
    private(set) var diagnostics: [Diagnostic] = []

    /// The tree with one override.
    ///
    /// - Parameters:
    ///   - override: `key=value`, the key dotted.
    ///   - root: The tree so far.
    /// - Returns: The changed tree; the same after a complaint.
    mutating func merge(_ override: String, into root: ManifestNode) -> ManifestNode {
        let shownKey = override.prefix { $0 != "=" }
        let location = Location(file: "--set \(Spelling.excerpt(String(shownKey)))")
        guard let equals = override.firstIndex(of: "="), equals != override.startIndex else {
            self.complain(
                at: location,
                "'--set \(Spelling.excerpt(override))' is no key=value",
                remedy: "write --set planes.request=tcp"
            )
            return root
        }
        let path = override[..<equals].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard path.allSatisfy({ !$0.isEmpty }), path.count <= 16 else {
            self.complain(at: location, "the key has an empty part", remedy: "write --set processes.worker.replicas=2")
            return root
        }
        var reader = YAMLReader(file: location.file)
        let text = String(override[override.index(after: equals)...])
        let isBlank = text.allSatisfy(\.isWhitespace)
        guard
            let value = isBlank
                ? ManifestNode(location: location, content: .scalar(.init(text: ""))) : reader.read(text)
        else {
            self.diagnostics += reader.diagnostics.map { Self.relocated($0, location) }
            return root
        }
        self.diagnostics += reader.diagnostics.map { Self.relocated($0, location) }
        if path.first == "processes", path.count > 2, !Self.exists(Array(path.prefix(2)), in: root) {
            let names = Self.keys(at: "processes", in: root)
            let nearest = Spelling.nearest(to: path[1], among: names)
            self.complain(
                at: location,
                "there is no process '\(Spelling.excerpt(path[1]))'",
                remedy: nearest.map { "write '\($0)'" } ?? "the processes are \(names.joined(separator: ", "))"
            )
            return root
        }
        return self.set(path[...], to: Self.relocated(value, location), in: root, named: "", at: location)
    }

    private mutating func set(
        _ path: ArraySlice<String>,
        to value: ManifestNode,
        in node: ManifestNode,
        named name: String,
        at location: Location
    ) -> ManifestNode {
        guard let key = path.first else { return value }
        var node = node
        switch node.content {
        case .mapping(var entries):
            if let index = entries.firstIndex(where: { $0.key == key }) {
                entries[index].value = self.set(
                    path.dropFirst(),
                    to: value,
                    in: entries[index].value,
                    named: key,
                    at: location
                )
            } else {
                let empty = ManifestNode(location: location, content: .null)
                let entry = self.set(path.dropFirst(), to: value, in: empty, named: key, at: location)
                entries.append(.init(key: key, keyLocation: location, value: entry))
            }
            node.content = .mapping(entries)
        case .sequence(var items):
            guard let index = Int(key), (0...items.count).contains(index) else {
                self.complain(
                    at: location,
                    "'\(Spelling.excerpt(key))' is no place in a list of \(items.count)",
                    remedy: "count from 0; \(items.count) adds one at the end"
                )
                return node
            }
            if index == items.count {
                let empty = ManifestNode(location: location, content: .null)
                items.append(self.set(path.dropFirst(), to: value, in: empty, named: key, at: location))
            } else {
                items[index] = self.set(path.dropFirst(), to: value, in: items[index], named: key, at: location)
            }
            node.content = .sequence(items)
        case .scalar(let scalar):
            guard let long = Self.longForm(of: scalar, in: node, named: name) else {
                self.complain(
                    at: location,
                    "'\(name)' is not a mapping, so it has no '\(Spelling.excerpt(key))'",
                    remedy: "set '\(name)' as a whole"
                )
                return node
            }
            return self.set(path, to: value, in: long, named: name, at: location)
        case .null:
            let mapping = ManifestNode(location: location, content: .mapping([]))
            return self.set(path, to: value, in: mapping, named: name, at: location)
        case .invalid:
            break
        }
        return node
    }

    private mutating func complain(at location: Location, _ message: String, remedy: String) {
        self.diagnostics.append(Diagnostic(at: location, message, remedy: remedy))
    }

    // MARK: Helpers

    /// What a short form, such as `planes: tcp`, stands for.
    private static func longForm(
        of scalar: ManifestNode.Scalar,
        in node: ManifestNode,
        named name: String
    ) -> ManifestNode? {
        let key: String
        var value = node
        switch name {
        case "planes": key = "request"
        case "discovery": key = "backend"
        case "restart": key = "policy"
        case "nats", "etcd":
            key = scalar.text == "managed" ? "managed" : "url"
            if key == "managed" { value.content = .scalar(.init(text: "true")) }
        default: return nil
        }
        let entry = ManifestNode.Entry(key: key, keyLocation: node.location, value: value)
        return ManifestNode(location: node.location, content: .mapping([entry]))
    }

    private static func exists(_ path: [String], in node: ManifestNode) -> Bool {
        guard let key = path.first else { return true }
        guard case .mapping(let entries) = node.content, let entry = entries.first(where: { $0.key == key }) else {
            return false
        }
        return self.exists(Array(path.dropFirst()), in: entry.value)
    }

    private static func keys(at key: String, in node: ManifestNode) -> [String] {
        guard case .mapping(let entries) = node.content, let entry = entries.first(where: { $0.key == key }),
            case .mapping(let inner) = entry.value.content
        else { return [] }
        return inner.map(\.key)
    }

    private static func relocated(_ diagnostic: Diagnostic, _ location: Location) -> Diagnostic {
        var diagnostic = diagnostic
        diagnostic.location = location
        return diagnostic
    }

    private static func relocated(_ node: ManifestNode, _ location: Location) -> ManifestNode {
        var node = node
        node.location = location
        switch node.content {
        case .sequence(let items):
            node.content = .sequence(items.map { self.relocated($0, location) })
        case .mapping(let entries):
            node.content = .mapping(
                entries.map { .init(key: $0.key, keyLocation: location, value: self.relocated($0.value, location)) }
            )
        case .null, .scalar, .invalid:
            break
        }
        return node
    }
}
