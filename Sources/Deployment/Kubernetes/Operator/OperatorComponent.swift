internal import OrderedCollections

/// A process as a component of a DynamoGraphDeployment, whatever the version of the resource.
///
/// The operator makes the container named `main` of its own defaults and of what is said here, which wins (ai-dynamo/dynamo,
/// `deploy/operator/internal/dynamo/component_common.go`, `component_frontend.go` and `component_worker.go`). What it says itself is
/// left to it.
struct OperatorComponent {
    /// What a component is for; the operator gives each kind its ports, probes and variables.
    enum Kind: String {
        case frontend, worker, prefill, decode
    }

    let process: ClusterProcess
    let plan: ClusterPlan

    // MARK: What the operator says itself

    /// The port of frontends, which it also names `http`.
    static let frontendPort = 8000
    /// The port of health and metrics of workers, which it also names `system`.
    static let systemPort = 9090

    /// Where what the operator gives a port of its own listens; nil: it gives none for this purpose.
    func operatorPort(_ purpose: ClusterPort.Purpose) -> Int? {
        switch (self.kind, purpose) {
        case (.frontend, .http): Self.frontendPort
        case (.worker, .system), (.prefill, .system), (.decode, .system): Self.systemPort
        default: nil
        }
    }

    /// Variables that it sets for frontends and workers, to what its ports and probes need.
    private static let portVariables: [Kind: OwnedVariable] = [
        .frontend: .httpPort, .worker: .systemPort, .prefill: .systemPort, .decode: .systemPort,
    ]

    /// Not in the environment of the graph, because it gives each graph a namespace.
    static let namespaceVariables = [OwnedVariable.namespace.rawValue]

    /// The namespace that it gives, as the kubelet fills it in.
    private static let namespaceReference = "$(\(OwnedVariable.namespace.rawValue))"

    /// nil: one that gets neither ports nor probes from the operator: a router, or a program without the servers that it would ask.
    var kind: Kind? {
        switch self.process.role {
        case .frontend: return .frontend
        case .router, .infrastructure: return nil
        case .worker:
            guard self.process.ports.contains(where: { $0.purpose == .system }) else { return nil }
            let words = self.process.arguments
            if words.contains("--is-prefill-worker") { return .prefill }
            if words.contains("--is-decode-worker") { return .decode }
            let flag = "--disaggregation-mode"
            var mode: String?
            for (index, word) in words.enumerated() {
                if word == flag, index + 1 < words.count { mode = words[index + 1] }
                if word.hasPrefix("\(flag)=") { mode = String(word.dropFirst(flag.count + 1)) }
            }
            switch mode?.lowercased() {
            case "prefill": return .prefill
            case "decode": return .decode
            default: return .worker
            }
        }
    }

    /// The release by which the operator chooses its defaults, where the image's tag does not say it.
    var runtimeVersion: String? {
        guard self.process.program == .ours || self.plan.release == nil else {
            let release = self.plan.release ?? Self.unstatedRelease
            return Self.tag(of: self.process.image) == release.description ? nil : release.description
        }
        return (self.plan.release ?? Self.unstatedRelease).description
    }

    /// Where no process is Dynamo's: the newest release that the launcher knows, whose defaults suit our programs.
    static let unstatedRelease = ReleaseKnowledge.rows.last?.observed ?? DynamoRelease(1, 6, 1)

    /// nil: the image is named by its digest alone, or by nothing.
    private static func tag(of image: String) -> String? {
        let name = image.split(separator: "@", maxSplits: 1).first ?? ""
        guard let colon = name.lastIndex(of: ":"), !name[colon...].contains("/") else { return nil }
        return String(name[name.index(after: colon)...])
    }

    // MARK: The container

    /// The arguments, with the namespace that the operator gives in place of the manifest's.
    var arguments: YAMLValue {
        var words: [String] = []
        var rest = self.process.arguments[...]
        let flags = ["--namespace", "--namespace-prefix"]
        while let word = rest.popFirst() {
            let flag = flags.first { word == $0 || word.hasPrefix("\($0)=") }
            if let flag {
                let value = word == flag ? rest.popFirst() ?? "" : String(word.dropFirst(flag.count + 1))
                // A frontend is told the beginning of the workers' namespaces by a variable, which a flag would outdo.
                if self.process.role == .frontend { continue }
                words += [flag, value == self.plan.namespace ? Self.namespaceReference : ContainerText.literal(value)]
            } else {
                words.append(self.inNamespace(word))
            }
        }
        return .texts(words)
    }

    /// `chat.backend.generate` of the manifest's namespace `chat`, in the operator's.
    private func inNamespace(_ word: String) -> String {
        let scheme = word.hasPrefix("dyn://") ? "dyn://" : ""
        let path = word.dropFirst(scheme.count)
        guard path.hasPrefix("\(self.plan.namespace)."), path.wholeMatch(of: /[\w.\/-]+/) != nil else {
            return ContainerText.literal(word)
        }
        return scheme + Self.namespaceReference
            + ContainerText.literal(String(path.dropFirst(self.plan.namespace.count)))
    }

    /// Beside those of the graph, and those that the operator sets.
    var environment: [ClusterVariable] {
        let left = self.kind.flatMap { Self.portVariables[$0] }?.rawValue
        let own = Set(self.process.environment.map(\.name))
        var variables = PlainDrain.variables(of: self.process, self.plan).filter { !own.contains($0.name) }
        variables += self.process.environment.filter { $0.name != left }
        if self.process.role == .worker, self.plan.processes.contains(where: { $0.role == .router }) {
            // A router of its own finds workers by the exact namespace, to which the operator would append a generation.
            variables.append(ClusterVariable(name: OwnedVariable.namespaceSuffix.rawValue, value: .text("")))
        }
        return variables
    }

    /// nil: those of the operator, to which its probes and Services lead.
    ///
    /// A list of one's own would take their place (operator, `internal/dynamo/graph.go`). Nothing needs ours: a container's ports only tell
    /// people what it listens at.
    var ports: YAMLValue? {
        guard self.kind == nil, !self.process.ports.isEmpty else { return nil }
        return .list(self.process.ports.map { ["name": .text($0.name), "containerPort": .number($0.number)] })
    }

    private var volumes: PodVolumes { PodVolumes(self.process, hasSharedMemory: false) }

    /// Of `/dev/shm`; `0`: the container runtime's.
    var sharedMemory: String {
        self.volumes.sharedMemory ?? "0"
    }

    /// The variables, ports, probes and mounts of the container, beside what the versions of the resource say elsewhere.
    func container(_ probes: OperatorProbes) -> KeyedYAML {
        var container: KeyedYAML = ["name": "main", "image": .text(self.process.image)]
        container["command"] = .texts(self.process.command.map(ContainerText.literal))
        if !self.process.arguments.isEmpty { container["args"] = self.arguments }
        container["workingDir"] = self.process.workingDirectory.map(YAMLValue.text)
        container["ports"] = self.ports
        container["startupProbe"] = probes.startup
        if let lifecycle = self.lifecycle { container["lifecycle"] = lifecycle }
        let mounts = self.volumes.mounts
        if !mounts.isEmpty { container["volumeMounts"] = .list(mounts) }
        container["securityContext"] = PlainSecurity.container(isRootWritable: PlainPod.isRootWritable(self.process))
        return container
    }

    /// Endpoints are taken away while the program is told to end; without a pause new connections would find it gone.
    private var lifecycle: YAMLValue? {
        PlainDrain.sleep(of: self.process, self.plan).map { ["preStop": ["sleep": ["seconds": .number($0)]]] }
    }

    /// Everything of the pod beside its containers.
    var podSpec: KeyedYAML {
        var spec: KeyedYAML = [
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": .number(PlainDrain.termination(of: self.process, self.plan)),
            "securityContext": PlainSecurity.pod(user: PlainPod.user),
        ]
        PlainSecurity.addPullSecrets(self.plan.settings, to: &spec)
        let settings = self.process.settings
        if !settings.nodeSelector.isEmpty { spec["nodeSelector"] = .texts(settings.nodeSelector) }
        if !settings.tolerations.isEmpty { spec["tolerations"] = .list(settings.tolerations.map(\.yaml)) }
        if let spread = self.spread { spec["affinity"] = ["podAntiAffinity": spread] }
        let volumes = self.volumes.volumes
        if !volumes.isEmpty { spec["volumes"] = .list(volumes) }
        return spec
    }

    /// Rather on different nodes, and in different zones, than on one: nil for a single pod.
    ///
    /// Not `topologySpreadConstraints`: where Grove runs the graph, its admission refuses pods that have them
    /// (ai-dynamo/grove, `operator/internal/webhook/admission/pcs/validation/podcliqueset.go`), and with them the whole graph.
    private var spread: YAMLValue? {
        guard PlainDeployment.mayHaveSeveral(self.process) else { return nil }
        let selector = YAMLValue.keyed(PodSelectors.graph(self.plan).of(self.process))
        let terms = [("kubernetes.io/hostname", 100), ("topology.kubernetes.io/zone", 50)].map {
            key,
            weight -> YAMLValue in
            [
                "weight": .number(weight),
                "podAffinityTerm": ["topologyKey": .text(key), "labelSelector": ["matchLabels": selector]],
            ]
        }
        return ["preferredDuringSchedulingIgnoredDuringExecution": .list(terms)]
    }
}
