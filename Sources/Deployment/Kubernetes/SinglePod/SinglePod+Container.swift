internal import OrderedCollections

/// The pod, and its one container.
extension SinglePod {
    /// Folders of the launcher, each on a volume that is empty at the pod's start.
    static let state = "/var/lib/dynamo-launch"
    static let runtime = "/run/dynamo-launch"
    /// Seconds until everybody who sends requests knows that the pod goes.
    private static let notice = 5
    /// Variables that are the pod's own, whatever the caller has in them.
    private static let own: Set<String> = [
        "HOME", "PATH", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "DYN_HTTP_PORT", "PWD", "USER",
    ]

    var pod: KeyedYAML {
        let grace = DeploymentTimes(self.plan.local).stop.rounded(.up)
        var pod: KeyedYAML = [
            "serviceAccountName": .text(self.names.account),
            "automountServiceAccountToken": false,
            // Else each Service of the namespace becomes variables, some with names that programs read.
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": .number(PlainProbes.seconds(grace) + Self.notice),
            "securityContext": PlainSecurity.pod(user: PlainPod.user),
        ]
        PlainSecurity.addPullSecrets(self.plan.settings, to: &pod)
        if !self.nodeSelector.isEmpty { pod["nodeSelector"] = .texts(self.nodeSelector) }
        if !self.tolerations.isEmpty { pod["tolerations"] = .list(self.tolerations.map(\.yaml)) }
        pod["containers"] = [.keyed(self.container)]
        pod["volumes"] = .list(self.volumes)
        return pod
    }

    private var container: KeyedYAML {
        var container: KeyedYAML = [
            "name": .text(PlainContainer.name), "image": .text(self.image), "command": ["dynamo-launch"],
            "args": .texts(self.arguments.map(ContainerText.literal)),
            "env": .list(self.variables.map(\.yaml)),
            "ports": [
                ["name": "http", "containerPort": .number(self.port), "protocol": "TCP"],
                ["name": "health", "containerPort": .number(Self.healthPort), "protocol": "TCP"],
            ],
            // The launcher answers before it starts anything; what is asked first is the interpreter for its release.
            "startupProbe": Self.probe("/live", period: 1, timeout: 5, failures: 120),
            "livenessProbe": Self.probe("/live", period: 10, timeout: 5, failures: 3),
            "readinessProbe": Self.probe("/ready", period: 2, timeout: 5, failures: 2),
            "lifecycle": ["preStop": ["sleep": ["seconds": .number(Self.notice)]]],
        ]
        container["resources"] = self.resources
        container["securityContext"] = PlainSecurity.container(isRootWritable: self.isRootWritable)
        container["volumeMounts"] = .list(self.mounts)
        return container
    }

    private static func probe(_ path: String, period: Int, timeout: Int, failures: Int) -> YAMLValue {
        [
            "httpGet": ["path": .text(path), "port": "health"], "periodSeconds": .number(period),
            "timeoutSeconds": .number(timeout), "failureThreshold": .number(failures),
        ]
    }

    var image: String { self.plan.settings.images.launcher?.value ?? ClusterImages.launcher(self.options.version) }

    // MARK: The command line

    private var arguments: [String] {
        var words = ["up", "\(Self.folder)/manifest.yaml"] + self.options.flags
        words += ["--health", "0.0.0.0:\(Self.healthPort)", "--set", "http.host=0.0.0.0"]
        if self.portOfFrontend == nil { words += ["--set", "http.port=\(self.port)"] }
        if let nats = self.plan.settings.nats, self.plan.planes.usesNATS {
            words += ["--set", "infrastructure.nats=\(nats.value)"]
        }
        let etcd = self.plan.settings.etcd.map(\.value)
        if case .etcd = self.plan.local.discovery, !etcd.isEmpty {
            // In quotes: an address of IPv6 has brackets.
            let endpoints = etcd.map(MigrationVariables.json).joined(separator: ", ")
            words += ["--set", "discovery={backend: etcd, endpoints: [\(endpoints)]}"]
        }
        let extra = self.options.passthroughArguments
        return words + (extra.isEmpty ? [] : ["--"] + extra)
    }

    /// What the first frontend says of its public port itself.
    var portOfFrontend: PortManifest? {
        guard self.manifest.gateway == nil else { return nil }
        let frontend = self.manifest.processes.first { $0.role == .frontend && $0.replicas > 0 }
        return frontend?.ports.first { $0.name.value == "http" }
    }

    /// Where the pod listens for clients.
    var port: Int {
        if self.portOfFrontend != nil { return self.plan.local.publicAddress.port }
        // Only root may open a lower one everywhere; the Service has it nevertheless.
        return self.plan.publicPort >= 1024 ? self.plan.publicPort : ClusterPorts.http
    }

    // MARK: Environment

    /// The launcher's folders, and the variables that the manifest uses.
    var variables: [ClusterVariable] {
        var variables: [String: ClusterVariable.Value] = [:]
        let settings = self.plan.settings
        let known = self.options.environment.filter { name, value in
            (Secrets.isSecret(name: name, value: value) || settings.secrets[name] != nil) && value.utf8.count >= 4
                && !settings.publicVariables.contains(name)
        }
        for name in self.manifest.variables.subtracting(Self.own) {
            let value = self.options.environment[name] ?? ""
            let isSecret =
                Secrets.isSecret(name: name, value: value) || known.values.contains { value.contains($0) }
                || Secrets.credential(in: value) != nil
            if isSecret, !settings.publicVariables.contains(name) {
                variables[name] = .secret(self.secret(name))
            } else if !value.isEmpty {
                variables[name] = .text(value)
            }
        }
        // Those that processes have from the launcher without the manifest's naming them.
        for name in settings.secrets.keys { variables[name] = .secret(self.secret(name)) }
        variables["HOME"] = .text(Self.state)
        variables["XDG_STATE_HOME"] = .text(Self.state)
        variables["XDG_RUNTIME_DIR"] = .text(Self.runtime)
        return variables.sorted { $0.key < $1.key }.map { ClusterVariable(name: $0.key, value: $0.value) }
    }

    /// A secret for which the manifest has a default may be missing.
    private func secret(_ variable: String) -> KubernetesSettings.SecretKey {
        self.plan.settings.secrets[variable]
            ?? KubernetesSettings.SecretKey(
                secret: "\(self.plan.deployment)-secrets",
                key: variable,
                isOptional: !self.manifest.neededVariables.contains(variable)
            )
    }

    // MARK: Volumes

    private var volumes: [YAMLValue] {
        var volumes: [YAMLValue] = [
            ["name": "manifest", "configMap": ["name": .text(self.configMap)]],
            ["name": "state", "emptyDir": [:]], ["name": "runtime", "emptyDir": [:]], ["name": "tmp", "emptyDir": [:]],
        ]
        if let size = self.sharedMemory {
            volumes.append(["name": "shared-memory", "emptyDir": ["medium": "Memory", "sizeLimit": .text(size)]])
        }
        return volumes + self.ownVolumes.map(\.yaml)
    }

    private var mounts: [YAMLValue] {
        var mounts: [YAMLValue] = [
            ["name": "manifest", "mountPath": .text(Self.folder), "readOnly": true],
            ["name": "state", "mountPath": .text(Self.state)], ["name": "runtime", "mountPath": .text(Self.runtime)],
            ["name": "tmp", "mountPath": "/tmp"],
        ]
        if self.sharedMemory != nil { mounts.append(["name": "shared-memory", "mountPath": "/dev/shm"]) }
        return mounts + self.ownVolumes.map(\.mount)
    }
}
