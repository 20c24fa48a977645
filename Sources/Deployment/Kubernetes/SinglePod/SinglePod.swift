internal import OrderedCollections

/// A whole deployment in one pod: the launcher runs the manifest there as it does on one machine.
package struct SinglePod: Sendable {
    /// What `up` is called with, and what it finds.
    package struct Options: Sendable {
        /// The manifest as it was written.
        package var manifestText: String
        /// The flags of the command line: the plane, and `--set`.
        package var flags: [String]
        /// What stands after `--`.
        package var passthroughArguments: [String]
        /// The caller's environment, of which the manifest's variables are taken.
        package var environment: [String: String]
        /// The tag of our own image.
        package var version: String

        package init(
            manifestText: String,
            flags: [String] = [],
            passthroughArguments: [String] = [],
            environment: [String: String] = [:],
            version: String
        ) {
            self.manifestText = manifestText
            self.flags = flags
            self.passthroughArguments = passthroughArguments
            self.environment = environment
            self.version = version
        }
    }

    /// The label `app.kubernetes.io/component` of the pod.
    static let component = "launcher"
    /// Where the kubelet asks, and metrics are.
    static let healthPort = 9180
    /// The folder of the manifest.
    static let folder = "/etc/dynamo-launch"
    /// Of an object; the API server takes no more in a ConfigMap.
    private static let textLimit = 1 << 20

    let plan: ClusterPlan
    let manifest: Manifest
    let options: Options
    let names: PlainNames

    /// What a person should know, beside the notes of the plan.
    package var notes: [String] {
        self.imageNotes + self.ignoredNotes + self.plan.secretNotes(of: self.variables)
    }

    /// - Parameters:
    ///   - plan: of the cluster.
    ///   - manifest: that the plan was made of.
    ///   - options: how `up` is called.
    /// - Throws: `ManifestErrors` with everything that keeps the manifest from being run in one pod.
    package init(_ plan: ClusterPlan, _ manifest: Manifest, _ options: Options) throws(ManifestErrors) {
        self.plan = plan
        self.manifest = manifest
        var options = options
        // The launcher would refuse what no container allows; 'kubernetes.limits' bounds the pod.
        for process in manifest.processes where process.limits?.memory != nil {
            options.flags += ["--set", "processes.\(process.name.value).limits.memory=unlimited"]
        }
        self.options = options
        self.names = PlainNames(plan)
        let diagnostics = self.textTroubles + self.portTroubles + self.pathTroubles + self.placeTroubles
        if !diagnostics.isEmpty { throw ManifestErrors(diagnostics).masking(options.environment) }
    }

    /// Everything, in the order in which it is to be applied.
    ///
    /// There is no PodDisruptionBudget: for one pod it could only forbid that its node is ever emptied.
    package var objects: [KubernetesObject] {
        let data: YAMLValue = ["manifest.yaml": .text(self.options.manifestText)]
        let account: YAMLValue = false
        return PlainNamespace.objects(self.names) + [
            self.names.object(
                "v1",
                "ServiceAccount",
                name: self.names.account,
                ["automountServiceAccountToken": account]
            ),
            self.names.object("v1", "ConfigMap", name: self.configMap, ["data": data]),
            ClientsService.object(of: self.plan, frontends: self.names.pods.frontends),
        ] + ClientsRoute.objects(of: self.plan) + self.policies + [self.deployment]
    }

    var configMap: String { "\(self.plan.name)-manifest" }
    var name: String { "\(self.plan.name)-\(Self.component)" }

    // MARK: Labels

    /// The pod is what the clients' Service leads to, as frontends are elsewhere.
    private var labels: KeyedYAML {
        var labels = self.names.labels
        labels[KubernetesLabels.component] = .text(Self.component)
        labels[KubernetesLabels.role] = .text(Role.frontend.rawValue)
        return labels
    }

    private var selector: KeyedYAML {
        var selector = self.names.pods.generation
        selector[KubernetesLabels.component] = .text(Self.component)
        return selector
    }

    // MARK: Objects

    private var deployment: KubernetesObject {
        let template: YAMLValue = [
            "metadata": [
                "labels": .keyed(self.labels),
                // Else a changed ConfigMap would change nothing that runs.
                "annotations": ["dynamo-launch/manifest-digest": .text(TextDigest.of(self.options.manifestText))],
            ],
            "spec": .keyed(self.pod),
        ]
        return self.names.object(
            "apps/v1",
            "Deployment",
            name: self.name,
            labels: self.labels,
            [
                "spec": [
                    "replicas": 1,
                    // Two launchers would be two deployments with half of the devices each.
                    "strategy": ["type": "Recreate"],
                    "revisionHistoryLimit": 10,
                    "progressDeadlineSeconds": .number(self.startLimit),
                    "selector": ["matchLabels": .keyed(self.selector)],
                    "template": template,
                ]
            ]
        )
    }

    /// Seconds until a deployment that is not ready counts as failed, for people who look at it: each level of processes may take its
    /// own limit, and the image has to come.
    private var startLimit: Int {
        let replicas = self.plan.local.replicas
        var longest: [Int: Double] = [:]
        for (level, replica) in zip(DeploymentTimes.levels(of: replicas), replicas) {
            guard let limit = replica.timing.startupTimeout else { return Int(Int32.max) }
            longest[level] = max(longest[level] ?? 0, limit)
        }
        return PlainProbes.seconds(longest.values.reduce(600) { $0 + $1 })
    }

    /// Clients and those who read metrics.
    ///
    /// Whatever the processes say to each other stays in the pod. What they ask for outside, such as a model, is not known, so nothing is
    /// said of it.
    private var policies: [KubernetesObject] {
        guard self.plan.settings.networkPolicy else { return [] }
        var rule: KeyedYAML = [:]
        rule["from"] = PlainNetworkPolicies.peers(.clients(of: self.plan), self.names).map(YAMLValue.list)
        rule["ports"] = .list(
            [self.port, Self.healthPort].map { ["protocol": "TCP", "port": .number($0)] }
        )
        return [
            self.names.object(
                "networking.k8s.io/v1",
                "NetworkPolicy",
                name: self.name,
                labels: self.labels,
                annotations: ["dynamo-launch/ingress": "clients, metrics"],
                [
                    "spec": [
                        "podSelector": ["matchLabels": .keyed(self.selector)], "policyTypes": ["Ingress"],
                        "ingress": [.keyed(rule)],
                    ]
                ]
            )
        ]
    }

    // MARK: What cannot be

    private var textTroubles: [Diagnostic] {
        var diagnostics: [Diagnostic] = []
        let text = self.options.manifestText
        if text.utf8.count > Self.textLimit - 4096 {
            diagnostics.append(
                Diagnostic(
                    at: Location(file: self.manifest.path ?? EmbeddedManifest.path, line: 1, column: 1),
                    "the manifest has \(text.utf8.count) bytes, and a ConfigMap has room for 1048576",
                    remedy: "generate it without --single-pod"
                )
            )
        }
        for entry in self.writtenEntries where !self.plan.settings.publicVariables.contains(entry.name.value) {
            let name = entry.name.value
            let isSecret = Secrets.isSecret(name: name) || self.plan.settings.secrets[name] != nil
            guard let written = entry.value.written,
                WrittenText(written).hasSecret(called: isSecret ? name : nil)
            else { continue }
            diagnostics.append(
                Diagnostic(
                    at: entry.location,
                    "the value of '\(name)' would stand in a ConfigMap, which everybody can read",
                    remedy: "write ${\(name)}; in the pod it comes from a Secret. If it is none, write "
                        + "'kubernetes: {secrets: {\(name): false}}'"
                )
            )
        }
        return diagnostics
    }

    /// The variables of the manifest, also those in whose place `--set` puts others: their text is in the ConfigMap all the same.
    private var writtenEntries: [EnvironmentEntry] {
        let source = ManifestSource(path: self.manifest.path ?? EmbeddedManifest.path, text: self.options.manifestText)
        let overridden =
            self.options.flags.contains("--set")
            ? try? Manifest.load(source, environment: self.options.environment) : nil
        return ([self.manifest] + [overridden].compactMap(\.self)).flatMap { manifest in
            manifest.environment + manifest.processes.flatMap(\.environment)
        }
    }

    private var portTroubles: [Diagnostic] {
        if let port = self.portOfFrontend, case .automatic = port.number {
            return [
                Diagnostic(
                    at: port.location,
                    "the pod's public port must be known, and the frontend has one that is chosen when it starts",
                    remedy: "write a number, or remove 'http' from its ports"
                )
            ]
        }
        var diagnostics: [Diagnostic] = []
        if self.port < 1024 {
            diagnostics.append(
                Diagnostic(
                    at: self.portOfFrontend?.location ?? self.manifest.http.port.location,
                    "the frontend listens on port \(self.port) itself, which only root may open everywhere",
                    remedy: "give it a port from 1024 on; 'http.port' is the port of the Service"
                )
            )
        }
        for own in self.manifest.gatewayPorts.map(\.address) {
            let why: String
            switch own.value.port {
            case ..<1024: why = "only root may open in a pod"
            case Self.healthPort: why = "the launcher has for the kubelet's questions"
            case self.port: why = "the pod has for the Service"
            default: continue
            }
            diagnostics.append(
                Diagnostic(
                    at: own.location,
                    "the gateway would listen on port \(own.value.port), which \(why)",
                    remedy: "choose another one from 1024 on"
                )
            )
        }
        return diagnostics
    }

    /// The manifest's folder has the manifest alone in the pod, and nobody can write there.
    private var pathTroubles: [Diagnostic] {
        self.manifest.uses.compactMap { use in
            guard let text = use.text else { return nil }
            let path: Substring
            switch (use.context, use.key) {
            case (.tls, _), (.listener, "unix"), (.discovery, "directory"): path = text[...]
            case (.gateway, "listeners") where text.hasPrefix("unix:"): path = text.dropFirst("unix:".count)
            case (.dynamo, "python") where text.contains("/"), (.process, "python") where text.contains("/"):
                path = text[...]
            default: return nil
            }
            guard !path.hasPrefix("/") else { return nil }
            return Diagnostic(
                at: use.location,
                "'\(use.path)' is a path beside the manifest, where the pod has nothing else: '\(Spelling.excerpt(String(path)))'",
                remedy: "write a path of the image, of a volume, or below /tmp for a socket, beginning with '/'"
            )
        }
    }
}
