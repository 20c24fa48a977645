internal import OrderedCollections

/// What `migrate.sh` is told about a migration: the assignments at its beginning.
struct MigrationVariables {
    let migration: KubernetesMigration

    /// Lines of bash; every text is quoted, whatever is in it.
    var text: String {
        let migration = self.migration
        let settings = migration.next.migration
        let lines: [(String, String)] =
            [
                ("deployment", Self.quoted(migration.current.deployment)),
                ("from", String(migration.current.generation)), ("to", String(migration.next.generation)),
                ("from_plane", Self.quoted(migration.current.planes.request.rawValue)),
                ("to_plane", Self.quoted(migration.next.planes.request.rawValue)),
                ("namespace", Self.quoted(migration.next.kubernetesNamespace ?? "")), ("context", "''"),
                ("service", Self.quoted(migration.current.deployment)), ("port", String(migration.next.publicPort)),
                ("to_service", Self.quoted(KubernetesMigration.ownService(of: migration.next))),
                ("to_port", String(migration.next.publicPort)), ("frontend_port", String(migration.frontendPort)),
                ("route", Self.quoted(migration.isRouted ? migration.current.deployment : "")),
                (
                    "steps",
                    Self.quoted(migration.isRouted ? settings.steps.map(String.init).joined(separator: ",") : "")
                ),
            ] + self.selectors
            + [
                ("servers", Self.array(migration.servers)),
                ("workloads", Self.array(migration.workloads)), ("pods_wanted", String(migration.pods)),
                ("old_objects", Self.array(migration.objectsOfCurrent.map(Self.reference))),
                ("new_objects", Self.array(migration.objectsOfNext.map(Self.reference))),
                ("old_frontends", Self.array(migration.frontends(of: migration.current))),
                ("new_frontends", Self.array(migration.frontends(of: migration.next))),
                ("old_graph", Self.quoted(migration.graph(of: migration.current)?.reference ?? "")),
                ("new_graph", Self.quoted(migration.graph(of: migration.next)?.reference ?? "")),
                ("old_graph_patch", Self.quoted(migration.graph(of: migration.current)?.patch ?? "")),
                ("new_graph_patch", Self.quoted(migration.graph(of: migration.next)?.patch ?? "")),
                ("model_json", Self.quoted(migration.next.model.map(Self.json) ?? "")),
                ("endpoint", Self.quoted(self.endpoint)), ("question", Self.quoted(self.question)),
                ("request_timeout", Self.seconds(migration.next.canary.timeout)), ("successes", "5"),
                ("verify_timeout", "120"), ("start_timeout", Self.seconds(migration.startTimeout)),
                ("stop_timeout", Self.seconds(migration.stopTimeout)), ("most_restarts", "5"),
                ("observe", Self.seconds(settings.observe)),
                ("error_rate", String(Int((settings.thresholds.errorRate * 1000).rounded()))),
                ("least", String(max(1, settings.thresholds.minimumRequests))),
                ("lease", Self.quoted("\(migration.current.deployment)-migration")), ("lock_time", "15"),
                ("take_over", "0"), ("me", "''"), ("keeper", "''"), ("retire", "0"), ("yes", "0"), ("dry_run", "0"),
                ("changed", "0"), ("trouble", "''"),
                ("proxy_pid", "''"),
                ("proxy_port", "''"),
            ]
        return lines.map { "\($0)=\($1)\n" }.joined()
    }

    // MARK: Who is who

    private var selectors: [(String, String)] {
        let migration = self.migration
        let (old, new) = (migration.current, migration.next)
        let from = migration.flavor.selectors(of: old).frontends
        let to = migration.flavor.selectors(of: new).frontends
        // The label that tells the generations apart.
        let key = to.keys.first { from[$0] != to[$0] } ?? KubernetesLabels.generation
        return [
            ("selector_key", Self.quoted(key)), ("selector_from", Self.quoted(Self.text(from[key]))),
            ("selector_to", Self.quoted(Self.text(to[key]))),
            ("from_frontends", Self.quoted(Self.selector(from))), ("to_frontends", Self.quoted(Self.selector(to))),
            ("from_pods", Self.quoted(Self.selector(migration.flavor.selectors(of: old).generation))),
            ("to_pods", Self.quoted(Self.selector(migration.flavor.selectors(of: new).generation))),
            ("all_pods", Self.quoted("\(KubernetesLabels.instance)=\(old.deployment)")),
        ]
    }

    private static func selector(_ labels: KeyedYAML) -> String {
        labels.map { "\($0.key)=\(self.text($0.value))" }.joined(separator: ",")
    }

    private static func text(_ value: YAMLValue?) -> String {
        if case .text(let text) = value { text } else { "" }
    }

    /// As `kubectl` takes it: `deployments.apps/chat-frontend`.
    static func reference(_ object: KubernetesObject) -> String {
        let parts = object.apiVersion.split(separator: "/")
        return parts.count == 2
            ? "\(object.kind.lowercased()).\(parts[1]).\(parts[0])/\(object.name)"
            : "\(object.kind.lowercased())/\(object.name)"
    }

    // MARK: The request

    private var endpoint: String {
        switch self.migration.next.canary.endpoint {
        case .chat: "/v1/chat/completions"
        case .completions: "/v1/completions"
        }
    }

    /// The fields of the body that are no model, without braces.
    private var question: String {
        let prompt = Self.json(self.migration.next.canary.prompt)
        return switch self.migration.next.canary.endpoint {
        case .chat: #""messages": [{"role": "user", "content": \#(prompt)}], "max_tokens": 1"#
        case .completions: #""prompt": \#(prompt), "max_tokens": 1"#
        }
    }

    // MARK: Words of bash and JSON

    /// Single quotes keep everything but themselves.
    static func quoted(_ text: String) -> String {
        "'\(text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#))'"
    }

    private static func array(_ words: [String]) -> String {
        "(\(words.map(self.quoted).joined(separator: " ")))"
    }

    /// Whole seconds, at least one.
    private static func seconds(_ value: Double) -> String { String(max(1, Int(value.rounded(.up)))) }

    static func json(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += #"\""#
            case "\\": result += #"\\"#
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let digits = String(scalar.value, radix: 16)
                result += #"\u"# + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
