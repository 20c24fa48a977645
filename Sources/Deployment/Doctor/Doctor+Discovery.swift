/// Who sees whom.
extension Doctor {
    var ofDiscovery: [Finding] {
        self.facts.discoveries.flatMap { discovery in
            let members = self.facts.processes.filter { $0.discoveryPlace == discovery.place }
            if let failure = discovery.failure {
                return [
                    Finding(
                        .error,
                        .discoveryUnreadable,
                        "discovery cannot be read (\(discovery.place))",
                        evidence: [failure] + members.map(Self.discoveryWords),
                        remedy: "start its server or give the right address in ETCD_ENDPOINTS or DYN_FILE_KV"
                    )
                ]
            }
            return self.stale(discovery) + self.planes(discovery, members) + self.views(discovery, members)
        } + self.alone
    }

    private static func discoveryWords(_ process: FoundProcess) -> String {
        let (backend, place) = process.discovery
        return "\(process.words): discovery \(backend.words)" + (place.map { " at \($0.words)" } ?? "")
    }

    private func words(_ record: DoctorFacts.Registered) -> String {
        let owner = self.facts.processes.first { $0.pid == record.pid }.map { " of \($0.words)" } ?? ""
        return "\(record.namespace).\(record.endpoint) \(record.id)\(owner): \(record.plane) at \(record.address)"
    }

    // MARK: Records

    private func stale(_ discovery: DoctorFacts.Discovery) -> [Finding] {
        var findings: [Finding] = []
        let dead = discovery.instances.filter { $0.reach == .refused }
        if !dead.isEmpty {
            findings.append(
                Finding(
                    .error,
                    .staleRecord,
                    "discovery has instances that are gone, to which requests are still sent",
                    evidence: dead.map { "\(self.words($0)), where nobody listens" },
                    remedy:
                        "wait until their leases have run out (10 s); a record that stays is renewed by a process that does not listen any more"
                )
            )
        }
        for record in discovery.instances {
            guard case .blocked(let reason) = record.reach else { continue }
            findings.append(
                Finding(
                    .error,
                    .addressBlocked,
                    "the address of \(record.namespace).\(record.endpoint) cannot be reached",
                    evidence: [self.words(record), reason],
                    remedy:
                        "let the port through the firewall, or have the worker give an address that others reach (DYN_TCP_RPC_HOST, DYN_HTTP_RPC_HOST)"
                )
            )
        }
        if !discovery.expired.isEmpty {
            findings.append(
                Finding(
                    .warning,
                    .staleRecord,
                    "discovery has records of processes that are gone",
                    evidence: discovery.expired.map {
                        "\($0.key), not renewed for \(Int($0.age)) s (\(discovery.place))"
                    },
                    remedy: "nothing where a frontend runs, which deletes them; else delete these files"
                )
            )
        }
        return findings
    }

    private func planes(_ discovery: DoctorFacts.Discovery, _ members: [FoundProcess]) -> [Finding] {
        // Ours choose for each instance, by its record.
        members.filter { $0.role == .frontend && !$0.isBuiltin }.compactMap { frontend in
            let others = discovery.instances.filter {
                frontend.sees($0.namespace) && $0.plane != frontend.requestPlane.value
            }
            guard !others.isEmpty else { return nil }
            return Finding(
                .error,
                .recordOnOtherPlane,
                "\(frontend.words) finds instances that it cannot reach, because they are on another plane",
                evidence: ["\(frontend.words): \(frontend.requestPlane.words)"] + others.map(self.words),
                remedy: "start both with the same DYN_REQUEST_PLANE, or give them namespaces of their own"
            )
        }
    }

    // MARK: Namespaces

    private func views(_ discovery: DoctorFacts.Discovery, _ members: [FoundProcess]) -> [Finding] {
        var findings: [Finding] = []
        for frontend in members where frontend.role == .frontend && frontend.namespace == nil {
            let workers = members.filter { $0.role == .worker }
            var seen: [String: [String]] = [:]
            for worker in workers {
                guard let namespace = worker.namespace?.value, frontend.sees(namespace) else { continue }
                seen[namespace, default: []].append(worker.words)
            }
            for record in discovery.instances where frontend.sees(record.namespace) {
                seen[record.namespace, default: []].append(self.words(record))
            }
            guard seen.count > 1 else { continue }
            findings.append(
                Finding(
                    .warning,
                    .foreignWorkers,
                    "\(frontend.words) takes the workers of \(seen.count) namespaces",
                    evidence: ["\(frontend.words): \(frontend.viewWords)"]
                        + seen.sorted { $0.key < $1.key }.map { "namespace \($0): \($1.joined(separator: ", "))" },
                    remedy:
                        "give it --namespace (DYN_NAMESPACE) with another name than 'dynamo', which means all; a prefix takes every name that begins so"
                )
            )
        }
        for worker in members where worker.role == .worker {
            guard let id = self.facts.instances[worker.pid], !discovery.instances.contains(where: { $0.id == id })
            else { continue }
            findings.append(
                Finding(
                    .error,
                    .notRegistered,
                    "\(worker.words) serves, but discovery does not have it, so nobody finds it",
                    evidence: ["its system server names instance \(id)", Self.discoveryWords(worker)],
                    remedy: "restart it; if that does not help, see in its log why it cannot register"
                )
            )
        }
        return findings
    }

    /// Workers that no frontend sees, and frontends that see no worker.
    private var alone: [Finding] {
        let frontends = self.facts.processes.filter { $0.role == .frontend }
        let workers = self.facts.processes.filter { $0.role == .worker }
        // Processes of a launcher may be scripts, whose command lines say nothing.
        let roles = self.facts.launched?.replicas.map(\.role) ?? []
        var findings: [Finding] = []
        for worker in workers where worker.discovery.backend.value != "mem" {
            let namespace = worker.namespace?.value ?? FoundProcess.globalNamespace
            let isSeen = frontends.contains { $0.discoveryPlace == worker.discoveryPlace && $0.sees(namespace) }
            guard !isSeen, !(frontends.isEmpty && roles.contains(.frontend)) else { continue }
            let others = frontends.map { "\(Self.discoveryWords($0)), \($0.viewWords)" }
            findings.append(
                Finding(
                    .warning,
                    .workerWithoutFrontend,
                    "no frontend here sees \(worker.words)",
                    evidence: ["\(Self.discoveryWords(worker)), namespace \(namespace)"]
                        + (others.isEmpty ? ["no frontend of this user runs here"] : others),
                    remedy: others.isEmpty
                        ? "start a frontend, unless one runs on another machine"
                        : "start both with the same discovery and the same DYN_NAMESPACE"
                )
            )
        }
        for frontend in frontends where frontend.discovery.backend.value != "mem" {
            let discovery = self.facts.discoveries.first { $0.place == frontend.discoveryPlace }
            let seesOne =
                workers.contains { worker in
                    worker.discoveryPlace == frontend.discoveryPlace
                        && worker.namespace.map { frontend.sees($0.value) } ?? false
                } || (discovery?.instances.contains { frontend.sees($0.namespace) } ?? false)
            guard !seesOne, discovery?.failure == nil, !(workers.isEmpty && roles.contains(.worker)) else { continue }
            findings.append(
                Finding(
                    .error,
                    .frontendWithoutWorkers,
                    "\(frontend.words) sees no worker, so it has no model",
                    evidence: ["\(Self.discoveryWords(frontend)), \(frontend.viewWords)"]
                        + workers.map { "\(Self.discoveryWords($0)), namespace \($0.namespace?.value ?? "-")" },
                    remedy: workers.isEmpty
                        ? "start a worker" : "start both with the same discovery and the same DYN_NAMESPACE"
                )
            )
        }
        return findings
    }
}
