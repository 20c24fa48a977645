internal import OrderedCollections

/// A server that the deployment brings along for all its generations: NATS or etcd.
struct PlainServer: Sendable {
    let component: String
    let image: String
    let command: [String]
    let ports: [ClusterPort]
    /// The port that says whether it serves, and the path.
    let health: (port: String, path: String)
    /// Whether it counts as alive as long as it accepts connections, whatever it says of itself.
    let livesByPort: Bool
    /// Seconds that it may take to start.
    let startLimit: Int
    /// Seconds that it may take to end.
    let grace: Int
    /// Whether what it writes must outlive its pod; otherwise its volume is empty at each start.
    let isStored: Bool

    /// Where its volume is.
    private static let directory = "/data"
    /// A user that the images need not know.
    static let user = 1000

    /// nil: no plane needs one, or it is somewhere already.
    static func nats(of names: PlainNames) -> Self? {
        guard let nats = names.plan.nats, nats.isManaged else { return nil }
        let port = nats.urls.first.flatMap { ServerAddress($0, port: ClusterPorts.nats) }?.port ?? ClusterPorts.nats
        var command = ["nats-server", "--addr", "0.0.0.0", "--port", String(port), "--http_port", "8222"]
        if nats.hasJetStream { command += ["--jetstream", "--store_dir", self.directory] }
        return Self(
            component: "nats",
            image: nats.image,
            command: command + nats.arguments,
            ports: [
                ClusterPort(name: "client", number: port, purpose: .other),
                ClusterPort(name: "monitor", number: 8222, purpose: .other),
            ],
            // With JetStream the plain path waits until the streams are back.
            health: ("monitor", "/healthz"),
            livesByPort: true,
            // Many messages take their time.
            startLimit: 600,
            // Lame duck mode asks clients to go elsewhere, and there is nowhere else.
            grace: 30,
            isStored: nats.hasJetStream
        )
    }

    static func etcd(of names: PlainNames) -> Self? {
        guard case .etcd(let etcd) = names.plan.discovery, etcd.isManaged else { return nil }
        let url = etcd.urls.first ?? "http://\(names.server("etcd")):\(ClusterPorts.etcd)"
        let port = ServerAddress(url, port: ClusterPorts.etcd)?.port ?? ClusterPorts.etcd
        // One member has no peers but itself, so nobody else need reach that port.
        let peer = "http://127.0.0.1:2380"
        let command = [
            "etcd", "--name", "default", "--data-dir", "\(self.directory)/etcd",
            "--listen-client-urls", "http://0.0.0.0:\(port)", "--advertise-client-urls", url,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=\(peer)",
        ]
        return Self(
            component: "etcd",
            image: etcd.image,
            command: command + etcd.arguments,
            ports: [ClusterPort(name: "client", number: port, purpose: .other)],
            health: ("client", "/health"),
            livesByPort: false,
            startLimit: 120,
            grace: 30,
            // Leases end when their owners do, but a record that outlives a restart saves everybody a registration.
            isStored: true
        )
    }

    // MARK: Objects

    func objects(_ names: PlainNames) -> [KubernetesObject] {
        let name = names.server(self.component)
        let policies = names.plan.settings.networkPolicy ? [PlainNetworkPolicies.ofServer(self, names)] : []
        let client = self.ports.filter { $0.name == "client" }
        return policies + [
            self.service(name, self.ports, isHeadless: true, names),
            self.service(name, client, isHeadless: false, names),
            self.statefulSet(name, names),
        ]
    }

    /// Clients have an address that stays when the pod is another one; the pod itself has a name through the other Service.
    private func service(
        _ name: String,
        _ ports: [ClusterPort],
        isHeadless: Bool,
        _ names: PlainNames
    ) -> KubernetesObject {
        var spec: KeyedYAML = ["selector": .keyed(names.serverSelector(component: self.component))]
        if isHeadless { spec["clusterIP"] = "None" }
        spec["ports"] = .list(
            ports.map {
                [
                    "name": .text($0.name), "port": .number($0.number), "targetPort": .text($0.name),
                    "protocol": "TCP",
                ]
            }
        )
        return names.object(
            "v1",
            "Service",
            name: isHeadless ? "\(name)-pods" : name,
            labels: names.serverLabels(component: self.component),
            ["spec": .keyed(spec)]
        )
    }

    private func statefulSet(_ name: String, _ names: PlainNames) -> KubernetesObject {
        var labels = names.serverLabels(component: self.component)
        labels[KubernetesLabels.role] = .text(Role.infrastructure.rawValue)
        labels[PlainNames.shared] = "true"
        var pod: KeyedYAML = [
            "serviceAccountName": .text(names.server("infrastructure")),
            "automountServiceAccountToken": false, "enableServiceLinks": false,
            "terminationGracePeriodSeconds": .number(self.grace),
            "securityContext": PlainSecurity.pod(user: Self.user),
            "containers": [self.container],
        ]
        PlainSecurity.addPullSecrets(names.plan.settings, to: &pod)
        if !self.isStored { pod["volumes"] = [["name": "data", "emptyDir": [:]]] }
        var spec: KeyedYAML = [
            "serviceName": .text("\(name)-pods"), "replicas": 1,
            "selector": ["matchLabels": .keyed(names.serverSelector(component: self.component))],
            "template": ["metadata": ["labels": .keyed(labels)], "spec": .keyed(pod)],
        ]
        if self.isStored { spec["volumeClaimTemplates"] = [self.claim(names.plan.settings)] }
        return names.object(
            "apps/v1",
            "StatefulSet",
            name: name,
            labels: names.serverLabels(component: self.component),
            ["spec": .keyed(spec)]
        )
    }

    private var container: YAMLValue {
        let asks: (String, YAMLValue) = (
            "httpGet", ["path": .text(self.health.path), "port": .text(self.health.port)]
        )
        let connects: (String, YAMLValue) = ("tcpSocket", ["port": "client"])
        func probe(_ action: (String, YAMLValue), period: Int, failures: Int) -> YAMLValue {
            .keyed([
                action.0: action.1, "periodSeconds": .number(period), "timeoutSeconds": 3,
                "failureThreshold": .number(failures),
            ])
        }
        return [
            "name": .text(self.component), "image": .text(self.image),
            "command": .texts([self.command[0]]),
            "args": .texts(self.command.dropFirst().map(ContainerText.literal)),
            "ports": .list(self.ports.map(PlainContainer.port)),
            "startupProbe": probe(asks, period: 2, failures: self.startLimit / 2),
            "readinessProbe": probe(asks, period: 5, failures: 3),
            "livenessProbe": probe(self.livesByPort ? connects : asks, period: 10, failures: 6),
            "resources": ["requests": ["cpu": "100m", "memory": "128Mi"]],
            "securityContext": PlainSecurity.container(isRootWritable: false),
            "volumeMounts": [["name": "data", "mountPath": .text(Self.directory)]],
        ]
    }

    private func claim(_ settings: KubernetesSettings) -> YAMLValue {
        var spec: KeyedYAML = [
            "accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": .text(settings.storage)]],
        ]
        spec["storageClassName"] = settings.storageClass.map(YAMLValue.text)
        return ["metadata": ["name": "data"], "spec": .keyed(spec)]
    }
}
