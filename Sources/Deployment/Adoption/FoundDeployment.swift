/// Running processes that serve together.
package struct FoundDeployment: Sendable {
    /// Frontends, then routers, then workers, each by pid.
    package let processes: [FoundProcess]

    init(_ processes: [FoundProcess]) {
        let order: [Role] = [.frontend, .router, .worker, .infrastructure]
        self.processes = processes.sorted { first, second in
            (order.firstIndex(of: first.role) ?? 0, first.pid) < (order.firstIndex(of: second.role) ?? 0, second.pid)
        }
    }

    package var frontends: [FoundProcess] { self.processes.filter { $0.role == .frontend } }

    /// Which processes serve together.
    ///
    /// Those that find each other in the same place and have the same namespace; a frontend without one, which takes workers of
    /// every namespace, makes one deployment of all that it sees.
    ///
    /// - Parameter processes: all that were found.
    /// - Returns: the deployments, by their lowest pid.
    package static func group(_ processes: [FoundProcess]) -> [FoundDeployment] {
        var result: [FoundDeployment] = []
        for members in Dictionary(grouping: processes, by: { Self.place(of: $0) }).values {
            let seesAll = members.contains { $0.role == .frontend && $0.namespace == nil && $0.namespacePrefix == nil }
            if seesAll {
                result.append(FoundDeployment(members))
                continue
            }
            let prefixes = members.compactMap { $0.namespacePrefix?.value }
            let groups = Dictionary(grouping: members) { member in
                if let prefix = member.namespacePrefix?.value { return prefix }
                let name = member.namespace?.value ?? ""
                return prefixes.first { name.hasPrefix($0) } ?? name
            }
            result += groups.values.map { FoundDeployment($0) }
        }
        return result.sorted { ($0.lowestPID, 0) < ($1.lowestPID, 0) }
    }

    private var lowestPID: Int32 { self.processes.map(\.pid).min() ?? 0 }

    /// Equal for processes that find each other.
    static func place(of process: FoundProcess) -> [String] {
        let (backend, place) = process.discovery
        // Nobody else finds what is in a process's own memory.
        if backend.value == "mem" { return [backend.value, "\(process.pid)"] }
        let parts = place?.value.split(separator: ",").map { endpoint in
            var text = endpoint
            if let scheme = text.firstRange(of: "://") { text = text[scheme.upperBound...] }
            while text.count > 1, text.last == "/" { text = text.dropLast() }
            return text.hasPrefix("127.0.0.1:") ? "localhost:\(text.dropFirst(10))" : String(text)
        }
        return [backend.value] + (parts ?? []).sorted()
    }

    // MARK: What its members share

    /// How they find each other, in words.
    package var discoveryWords: String {
        guard let (backend, place) = self.processes.first?.discovery else { return "-" }
        return backend.value + (place.map { " at \(Secrets.masking(url: $0.value))" } ?? "")
    }

    /// The namespace that the workers have; nil: more than one, or the default, which means all to a frontend.
    package var namespace: String? {
        let names = Set(self.processes.compactMap { $0.namespace?.value }).subtracting([FoundProcess.globalNamespace])
        return names.count == 1 ? names.first : nil
    }

    /// The value that decides: that of the frontends, where there are some.
    func decided(_ value: (FoundProcess) -> String?) -> String? {
        let members = self.frontends.isEmpty ? self.processes : self.frontends
        let counts = Dictionary(grouping: members.compactMap(value)) { $0 }.mapValues(\.count)
        return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
    }

    package var requestPlane: String { self.decided { $0.requestPlane.value } ?? "tcp" }

    var eventPlane: String? {
        if self.processes.contains(where: \.keepsEvents) { return "jetstream" }
        if self.processes.allSatisfy(\.isBuiltin), !self.processes.contains(where: { $0.routesByKVCache }),
            !self.processes.contains(where: { $0.role == .router })
        {
            // Nothing of it reads them.
            return nil
        }
        return self.decided { $0.eventPlane?.value }.map { $0 == "nats" ? "nats-core" : $0 }
    }

    var responsePlane: String { self.decided { $0.responsePlane.value } ?? "tcp" }

    var nats: String? {
        guard self.requestPlane == "nats" || self.eventPlane == "nats-core" || self.eventPlane == "jetstream" else {
            return nil
        }
        return self.processes.compactMap(\.nats).first?.value ?? "nats://localhost:4222"
    }

    /// Frontends that take the workers of every namespace, also those of a second generation beside them.
    var unboundedFrontends: [FoundProcess] { self.frontends.filter { $0.namespace == nil } }

    // MARK: What differs and must not

    /// Something that is not the same for all of them although it has to be.
    struct Contradiction: Sendable {
        enum Subject: String, Sendable {
            case requestPlane = "request plane"
            case eventPlane = "event plane"
            case responsePlane = "response plane"
            case codec = "request codec"
            case natsServer = "NATS server"
            case namespace
            case release = "Dynamo release"
            case httpPath = "path of the HTTP plane"
            case hashSeed = "PYTHONHASHSEED"
        }

        var subject: Subject
        var consequence: String
        /// `frontend (pid 812): nats (DYN_REQUEST_PLANE)`; secrets masked.
        var values: [String]
    }

    /// The contradictions in words.
    package var differences: [String] {
        self.contradictions.map {
            "the \($0.subject.rawValue) differs: \($0.values.joined(separator: ", ")); \($0.consequence)"
        }
    }

    /// Whether a frontend or router is Dynamo's own, which speaks one plane only.
    ///
    /// Ours choose for each instance, by its record.
    var hasForeignCallers: Bool {
        self.frontends.isEmpty || self.processes.contains { $0.role != .worker && !$0.isBuiltin }
    }

    var contradictions: [Contradiction] {
        var result = [
            self.difference(
                .requestPlane,
                self.hasForeignCallers
                    ? "a frontend reaches only workers of its own plane, so requests for the others fail"
                    : "this package's frontends and routers reach every plane, Dynamo's own would not",
                { $0.requestPlane }
            ),
            self.difference(
                .eventPlane,
                "a router hears nothing of what is published on another plane",
                { $0.eventPlane }
            ),
            self.difference(.responsePlane, "answers come back on one plane only", { $0.responsePlane }),
            self.difference(
                .codec,
                "callers use what each worker publishes, so its own value does nothing for a caller",
                { $0.setting(nil, "DYN_REQUEST_PLANE_CODEC") ?? .init(value: "default", source: nil) }
            ),
            self.difference(.natsServer, "those at different servers do not reach each other", { $0.nats }),
            self.difference(
                .namespace,
                "the manifest has one for all",
                { $0.role == .frontend && $0.namespace == nil ? nil : $0.namespace }
            ),
            self.difference(
                .release,
                "upstream promises little about that",
                { process in process.release.map { FoundProcess.Setting(value: "\($0)", source: "installed") } }
            ),
        ]
        if self.requestPlane == "http" {
            result.append(
                self.difference(
                    .httpPath,
                    "one side calls what the other does not serve",
                    { $0.setting(nil, "DYN_HTTP_RPC_ROOT_PATH") ?? .init(value: "default", source: nil) }
                )
            )
        }
        if self.processes.contains(where: \.routesByKVCache) {
            result.append(
                self.difference(
                    .hashSeed,
                    "the same blocks get different hashes, so the router finds nothing",
                    { $0.isBuiltin ? nil : $0.setting(nil, "PYTHONHASHSEED") ?? .init(value: "random", source: nil) }
                )
            )
        }
        return result.compactMap { $0 }
    }

    private func difference(
        _ subject: Contradiction.Subject,
        _ consequence: String,
        _ value: (FoundProcess) -> FoundProcess.Setting?
    ) -> Contradiction? {
        let values = self.processes.compactMap { process in value(process).map { (process, $0) } }
        guard Set(values.map(\.1.value)).count > 1 else { return nil }
        return Contradiction(
            subject: subject,
            consequence: consequence,
            values: values.map { "\($0.words): \(Secrets.masking(url: $1.words))" }
        )
    }
}
