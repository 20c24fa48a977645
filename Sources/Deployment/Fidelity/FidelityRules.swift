/// What becomes of each key of a manifest.
///
/// True of what `ClusterPlanner` and the forms of its plan write, of `SystemdUnits`, and of a launcher in a pod.
struct FidelityRules {
    let target: FidelityReport.Target
    let manifest: Manifest
    var facts = FidelityReport.Facts()

    /// Nobody says nothing of a key: one that has no rule fails `FidelityTests`.
    func verdict(_ use: ManifestUse) -> FidelityVerdict {
        self.rule(use) ?? .lost("dynamo-launch does not know what becomes of it")
    }

    /// nil: there is no rule.
    func rule(_ use: ManifestUse) -> FidelityVerdict? {
        guard use.context.keys.contains(use.key) else { return nil }
        switch self.target {
        case .systemd: return FidelityOfLauncher.systemd(use, self.facts)
        case .singlePod: return self.otherServer(use) ?? FidelityOfLauncher.singlePod(use)
        case .operator, .plain: return self.inPods(use)
        }
    }

    private var isOperator: Bool { self.target == .operator }

    private func inPods(_ use: ManifestUse) -> FidelityVerdict? {
        switch use.context {
        case .root: self.root(use)
        case .planes: .kept
        case .discovery: self.discovery(use)
        case .dynamo: use.key == "python" ? Self.python(use) : .kept
        case .http: self.http(use)
        case .gateway, .hold, .gatewayTimeouts, .tls, .listener: Self.gateway(use)
        case .infrastructure, .nats, .etcd: self.infrastructure(use)
        case .preflight: Self.preflight
        case .canary:
            .approximated("migrate.sh asks it; pods are ready when the model can be served, and no request is made")
        case .migration, .migrationCheck, .migrationThresholds: self.migration(use)
        case .kubernetes: self.kubernetes(use)
        case .processKubernetes where use.key == "autoscaling", .kubernetesAutoscaling: self.autoscaling(use)
        case .kubernetesImages, .kubernetesSecret, .kubernetesRoute, .kubernetesAPIServer, .kubernetesToleration,
            .kubernetesVolume, .processKubernetes, .conditionalArguments:
            .kept
        case .process: self.process(use)
        case .kvEvents:
            .lost("the launcher that would publish these events is not in the pod; the engine's own publisher is")
        case .limits: Self.limits(use.key)
        case .timing: self.timing(use)
        case .restart: Self.restart(use)
        case .stop: Self.stop(use)
        case .probe, .httpProbe, .tcpProbe: self.probe(use)
        }
    }

    static let discovery = "pods find each other through the API server, or through etcd where a process is ours"
    static let inherit = "nothing of your shell gets into a pod: name what is needed under 'env'"
    static let operatorNamespace =
        "the operator calls it <Kubernetes namespace>-<name of the graph>, and its workers append a generation"

    private static let unset = FidelityVerdict.approximated(
        "the variable is not written, but one that the image sets itself (ENV) stays"
    )

    // MARK: The top level

    private func root(_ use: ManifestUse) -> FidelityVerdict? {
        switch use.key {
        case "name", "model", "planes", "dynamo", "http", "device", "env", "processes", "infrastructure", "passthrough",
            "kubernetes", "canary", "migration":
            return .kept
        case "unset": return Self.unset
        case "gpuSharing":
            return use.text == "shared" ? .lost("in a cluster every pod has its devices for itself") : .kept
        case "preflight": return Self.preflight
        case "discovery": return self.discovery(use)
        case "namespace":
            guard self.isOperator else { return .kept }
            return .approximated(Self.operatorNamespace)
        case "survive": return Self.survive(use)
        case "inherit": return use.text == "none" ? .kept : .lost(Self.inherit)
        case "gateway": return use.text == "false" ? .kept : Self.gateway(use)
        default: return nil
        }
    }

    static func survive(_ use: ManifestUse) -> FidelityVerdict {
        use.text == "false"
            ? .kept : .lost("the processes of a pod end with its launcher; in pods of their own they need none")
    }

    private func discovery(_ use: ManifestUse) -> FidelityVerdict {
        if use.key == "directory" { return .lost("pods share no folder") }
        if use.key == "endpoints" {
            return self.usesEtcd ? .kept : .lost("pods find each other through the API server")
        }
        guard use.text != "etcd" || !self.usesEtcd else { return .kept }
        return .approximated(Self.discovery)
    }

    /// As `ClusterPlanner` decides it.
    private var usesEtcd: Bool {
        if let wanted = self.manifest.kubernetes.discovery { return wanted.value == .etcd }
        return self.manifest.processes.contains { $0.replicas > 0 && !$0.isDynamo && $0.role != .infrastructure }
    }

    static func python(_ use: ManifestUse) -> FidelityVerdict {
        use.text == "python3" ? .kept : .approximated("the image's python3")
    }

    private func http(_ use: ManifestUse) -> FidelityVerdict {
        switch use.key {
        case "host":
            return use.text == "0.0.0.0"
                ? .kept
                : .approximated(
                    "frontends listen on all addresses of their pods; the Service and policies decide who comes in"
                )
        default:
            return use.text == "auto" ? .approximated("the Service has port \(ClusterPorts.http)") : .kept
        }
    }

    static func gateway(_ use: ManifestUse) -> FidelityVerdict {
        let top = use.path.split(separator: ".").dropFirst().first.map(String.init) ?? ""
        switch top {
        case "": return .kept
        case "hold":
            return use.text == "false"
                ? .kept : .lost("nothing holds requests while no frontend is ready: clients are refused")
        case "tls":
            return .lost("a Service carries plain HTTP: give the certificate to the Gateway or Ingress in front of it")
        case "idleExit": return .lost("a Service starts nothing; scale down by other means")
        case "metrics":
            return .lost("there is no launcher to be measured; frontends and workers have /metrics of their own")
        default:
            return .lost(
                "no launcher is in front of the frontends: this is for the Gateway or Ingress in front of the Service"
            )
        }
    }

    /// What is said of a server in whose place there is another one; nil: there is none.
    private func otherServer(_ use: ManifestUse) -> FidelityVerdict? {
        let name: String
        switch use.context {
        case .infrastructure: name = use.key
        case .nats: name = "nats"
        case .etcd: name = "etcd"
        default: return nil
        }
        let settings = self.manifest.kubernetes
        let other: String
        if name == "nats" ? settings.nats != nil : !settings.etcd.isEmpty {
            other = "the server is that of 'kubernetes.\(name)'"
        } else if name == "etcd", self.target != .singlePod, !self.usesEtcd {
            other = "pods find each other through the API server instead"
        } else {
            return nil
        }
        return ["args", "jetstream", "port", "peerPort"].contains(use.key) ? .lost(other) : .approximated(other)
    }

    private func infrastructure(_ use: ManifestUse) -> FidelityVerdict {
        if let verdict = self.otherServer(use) { return verdict }
        return switch use.key {
        case "port", "peerPort": .approximated("a server of the deployment's own has a Service with the usual port")
        default: .kept
        }
    }

    private func migration(_ use: ManifestUse) -> FidelityVerdict {
        let hasRoute = self.manifest.kubernetes.route != nil
        let key = use.path.split(separator: ".").dropFirst().first.map(String.init) ?? use.key
        switch key {
        case "strategy":
            return use.text == "blue-green"
                ? .kept : .approximated("both generations are complete (blue-green), so there must be room for both")
        case "steps":
            return hasRoute
                ? .kept
                : .approximated("a Service leads all clients at once; with 'kubernetes.route' they move in steps")
        case "canary":
            return .lost("migrate.sh asks the readiness request only, and does not look at what is answered")
        case "observe", "startTimeout": return .kept
        case "drainTimeout":
            return .lost("a frontend that ends has its 'stop.grace' for the requests that it has")
        case "rollbackWindow":
            return .lost("the old generation is kept until migrate.sh is told to finish, however long that takes")
        case "thresholds":
            return ["errorRate", "minimumRequests"].contains(use.key)
                ? .kept : .lost("migrate.sh sees what the frontends count, and no single times")
        case "minimumWorkers": return .lost("it belongs to 'rolling', and both generations are complete here")
        default: return .lost("migrate.sh has no such thing")
        }
    }

    private func kubernetes(_ use: ManifestUse) -> FidelityVerdict {
        self.isOperator && use.key == "createDefinition" && use.text == "true"
            ? .approximated("the operator has brought the definition along") : .kept
    }

    // MARK: Processes

    private func process(_ use: ManifestUse) -> FidelityVerdict? {
        switch use.key {
        case "role", "command", "builtin", "module", "args", "replicas", "env", "kubernetes", "timing", "stop":
            return .kept
        case "restart": return Self.restart(policy: use.text)
        case "unset": return Self.unset
        case "python": return Self.python(use)
        case "workingDirectory": return .approximated("the folder of that name in the image")
        case "ports": return self.ports(use)
        case "listen": return .lost("no socket is passed to a pod: while it is replaced, others get the connections")
        case "gpus":
            if case .scalar(let scalar) = use.value.content, Int(scalar.text) != nil { return .kept }
            return .approximated("as many devices for each replica; which ones is for the cluster to say")
        case "kvEvents": return .lost("the launcher that would publish these events is not in the pod")
        case "limits": return Self.limits(use.key)
        case "dependsOn":
            return self.isOperator
                ? .approximated("everything starts at once, and asks again until what it needs is there")
                : .approximated("pods of Dynamo wait for the others' Services; what else runs starts at once")
        case "probes": return self.probe(use)
        default: return nil
        }
    }

    private func autoscaling(_ use: ManifestUse) -> FidelityVerdict {
        guard let process = self.process(of: use), self.facts.separate.contains(process.name.value) else {
            return .kept
        }
        return .lost("the replicas are not alike, so each is an object of its own, of which there is one")
    }

    private func ports(_ use: ManifestUse) -> FidelityVerdict {
        guard case .mapping(let entries) = use.value.content else { return .kept }
        let texts = entries.compactMap { entry -> (key: String, text: String)? in
            if case .scalar(let scalar) = entry.value.content { (entry.key, scalar.text) } else { nil }
        }
        for (name, text) in texts where self.isOperator {
            guard let number = Self.operatorPorts[name], text != number else { continue }
            return .approximated("the operator's own: \(name) is \(number), at each pod's own address")
        }
        if texts.contains(where: { $0.text.contains("index") }) {
            return .approximated("every replica has the first one's numbers, at an address of its own")
        }
        if texts.contains(where: { $0.text == "auto" }) { return .approximated("fixed numbers, the same in every pod") }
        return .kept
    }

    private static let operatorPorts = [
        "http": String(OperatorComponent.frontendPort), "system": String(OperatorComponent.systemPort),
    ]

    private func timing(_ use: ManifestUse) -> FidelityVerdict {
        switch use.key {
        case "startupInterval":
            return .approximated("the kubelet asks every second, or every five where a start may take long")
        case "failureThreshold": return .kept
        default:
            guard case .scalar(let scalar) = use.value.content, let seconds = DurationText.seconds(scalar.text) else {
                return .kept
            }
            return seconds == seconds.rounded() ? .kept : .approximated("whole seconds, rounded up")
        }
    }

    private static func restart(policy: String?) -> FidelityVerdict {
        switch policy {
        case "always", nil: .kept
        case "never": .lost("the kubelet starts again whatever ends")
        default: .approximated("the kubelet starts again also what ended well")
        }
    }

    static func restart(_ use: ManifestUse) -> FidelityVerdict {
        switch use.key {
        case "policy": self.restart(policy: use.text)
        case "maxRestarts":
            use.text == "none" ? .kept : .lost("the kubelet never gives up")
        default:
            .approximated("the kubelet's own pauses: 10 s, doubled up to 5 minutes, anew after 10 minutes of running")
        }
    }

    static func stop(_ use: ManifestUse) -> FidelityVerdict {
        guard use.key == "signal" else { return .kept }
        let isTerm = ["SIGTERM", "TERM", "15"].contains(use.text ?? "")
        return isTerm ? .kept : .lost("the kubelet sends SIGTERM, unless the image names another STOPSIGNAL")
    }

    private static let preflight = FidelityVerdict.lost("in a cluster nobody runs it: use an init container")

    private static func limits(_ key: String) -> FidelityVerdict {
        key == "memory" || key == "cpus"
            ? .lost("the cluster gives a pod what 'kubernetes.limits' of the process says")
            : .lost("a container has the limits of its container runtime")
    }

    private func probe(_ use: ManifestUse) -> FidelityVerdict {
        if self.isOperator, self.isAskedByOperator(use) {
            return .approximated("the operator's own questions: /live and /health")
        }
        return switch use.key == "probes" ? use.text ?? "none" : use.key {
        case "none", "process", "model-listed", "model-ready": .kept
        case "generate": .approximated("the layer below; migrate.sh makes the request")
        case "http" where !self.hasPython(use): self.askedByKubelet(use)
        case "http", "tcp", "exec", "system", "url", "status", "contains", "host", "port": .kept
        case "nats": .approximated("whether its port accepts connections")
        default: .lost("the kubelet cannot ask it; the layer below decides")
        }
    }

    /// Of a question over HTTP that no program of the image can ask.
    private func askedByKubelet(_ use: ManifestUse) -> FidelityVerdict {
        guard case .mapping(let entries) = use.value.content else { return .kept }
        if entries.contains(where: { $0.key == "contains" }) {
            return .approximated("the kubelet looks at the status alone ('contains' is lost): the image has no Python")
        }
        guard entries.contains(where: { $0.key == "status" }) else { return .kept }
        return .approximated("the kubelet takes 200 to 399, or any answer where an error is asked for")
    }

    /// Whether the image of the process has an interpreter that can ask: Dynamo's have one.
    private func hasPython(_ use: ManifestUse) -> Bool { self.process(of: use)?.module != nil }

    private func process(of use: ManifestUse) -> ProcessManifest? {
        let name = use.path.split(separator: ".").dropFirst().first.map(String.init)
        return self.manifest.processes.first { $0.name.value == name }
    }

    private func isAskedByOperator(_ use: ManifestUse) -> Bool {
        guard let process = self.process(of: use) else { return false }
        let hasSystem = process.hasSystemServer || process.ports.contains { $0.name.value == "system" }
        return process.role == .frontend || process.role == .worker && hasSystem
    }
}

extension ManifestUse {
    /// The value, where it is one word.
    var text: String? { if case .scalar(let scalar) = self.value.content { scalar.text } else { nil } }
}
