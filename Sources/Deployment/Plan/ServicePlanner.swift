/// The servers that the planes and discovery need: started by the launcher, or asked before anything is started.
struct ServicePlanner {
    private(set) var replicas: [ReplicaPlan] = []
    private(set) var external: [ExternalService] = []
    private(set) var natsURL: String?
    private(set) var discovery: DiscoveryPlan

    init(planner: inout Planner, planes: PlaneSet, directories: DeploymentDirectories) {
        let manifest = planner.manifest
        switch manifest.discovery.backend.value {
        case .file:
            let directory = manifest.discovery.directory.map {
                FilePathText.resolve($0.value, against: planner.manifestDirectory)
            }
            self.discovery = .file(directory: directory ?? directories.discovery)
        case .mem: self.discovery = .memory
        case .etcd: self.discovery = .etcd(endpoints: manifest.discovery.endpoints.map(\.value))
        }
        if planes.usesNATS, let nats = manifest.nats {
            switch nats.source {
            case .external(let urls):
                guard let url = urls.first?.value else { break }
                self.natsURL = url
                self.external.append(ExternalService(name: "nats", url: url, probe: .natsPing(url: url)))
            case .managed(let service):
                self.addNATS(service, at: nats.location, planes, directories, &planner)
            }
        }
        guard manifest.discovery.backend.value == .etcd else { return }
        switch manifest.etcd?.source {
        case .managed(let service):
            self.addEtcd(service, at: manifest.etcd?.location ?? manifest.name.location, directories, &planner)
        case .external(let urls): self.addExternalEtcd(urls.map(\.value))
        case nil: self.addExternalEtcd(manifest.discovery.endpoints.map(\.value))
        }
    }

    private mutating func addExternalEtcd(_ endpoints: [String]) {
        self.discovery = .etcd(endpoints: endpoints)
        for (index, endpoint) in endpoints.enumerated() {
            let base = endpoint.hasSuffix("/") ? String(endpoint.dropLast()) : endpoint
            self.external.append(
                ExternalService(
                    name: endpoints.count > 1 ? "etcd-\(index)" : "etcd",
                    url: endpoint,
                    probe: .http(url: "\(base)/health", statuses: [200], bodyContains: "true")
                )
            )
        }
    }

    private mutating func addNATS(
        _ service: ManagedService,
        at location: Location,
        _ planes: PlaneSet,
        _ directories: DeploymentDirectories,
        _ planner: inout Planner
    ) {
        let program = Self.program(
            "nats-server",
            at: location,
            remedy: "install Debian's package nats-server (apt install nats-server), or name a server that runs: "
                + "'infrastructure: nats: nats://host:4222'",
            &planner
        )
        guard let port = Self.port("client", service.port, of: "nats", at: location, &planner) else { return }
        let url = "nats://127.0.0.1:\(port.port)"
        self.natsURL = url
        var arguments = ["-a", "127.0.0.1", "-p", String(port.port)]
        if service.jetstream ?? (planes.events == .jetstream) {
            arguments += ["-js", "-sd", "\(directories.state)/nats"]
        }
        arguments += Self.resolved(service.arguments, port, at: location, &planner)
        self.replicas.append(
            ReplicaPlan(
                process: "nats",
                name: "nats",
                role: .infrastructure,
                executable: program ?? "nats-server",
                arguments: arguments,
                environment: planner.serviceEnvironment(removing: nil),
                workingDirectory: planner.facts.workingDirectory,
                ports: [port],
                readiness: [
                    LayerProbe(layer: .alive, probe: .process),
                    LayerProbe(layer: .port, probe: .tcp(host: "127.0.0.1", port: port.port)),
                    LayerProbe(layer: .health, probe: .natsPing(url: url)),
                ],
                timing: ProbeTiming(startupTimeout: 30),
                origin: location.description
            )
        )
    }

    private mutating func addEtcd(
        _ service: ManagedService,
        at location: Location,
        _ directories: DeploymentDirectories,
        _ planner: inout Planner
    ) {
        let program = Self.program(
            "etcd",
            at: location,
            remedy: "install Debian's package etcd-server (apt install etcd-server), or name a server that runs: "
                + "'infrastructure: etcd: http://host:2379'",
            &planner
        )
        guard let client = Self.port("client", service.port, of: "etcd", at: location, &planner),
            let peer = Self.port("peer", service.peerPort, of: "etcd", at: location, &planner)
        else { return }
        let clientURL = "http://127.0.0.1:\(client.port)"
        let peerURL = "http://127.0.0.1:\(peer.port)"
        self.discovery = .etcd(endpoints: [clientURL])
        let arguments = [
            "--name", "default", "--data-dir", "\(directories.state)/etcd", "--listen-client-urls", clientURL,
            "--advertise-client-urls", clientURL, "--listen-peer-urls", peerURL, "--initial-advertise-peer-urls",
            peerURL,
            "--initial-cluster", "default=\(peerURL)",
        ]
        self.replicas.append(
            ReplicaPlan(
                process: "etcd",
                name: "etcd",
                role: .infrastructure,
                executable: program ?? "etcd",
                arguments: arguments + Self.resolved(service.arguments, client, at: location, &planner),
                environment: planner.serviceEnvironment(removing: "ETCD_"),
                workingDirectory: planner.facts.workingDirectory,
                ports: [client, peer],
                readiness: [
                    LayerProbe(layer: .alive, probe: .process),
                    LayerProbe(layer: .port, probe: .tcp(host: "127.0.0.1", port: client.port)),
                    LayerProbe(
                        layer: .health,
                        probe: .http(url: "\(clientURL)/health", statuses: [200], bodyContains: "true")
                    ),
                ],
                timing: ProbeTiming(startupTimeout: 30),
                origin: location.description
            )
        )
    }

    private static func program(
        _ name: String,
        at location: Location,
        remedy: String,
        _ planner: inout Planner
    ) -> String? {
        if let path = planner.facts.onPath(name, path: nil) { return path }
        // Where Debian puts nats-server; not every user's PATH has the folder.
        let system = "/usr/sbin/\(name)"
        if planner.facts.isExecutable(system) { return system }
        planner.error(
            at: location,
            "the managed \(name == "etcd" ? "etcd" : "NATS server") cannot be started: '\(name)' is not on PATH",
            remedy: remedy
        )
        return nil
    }

    private static func port(
        _ name: String,
        _ given: Located<Int>?,
        of process: String,
        at location: Location,
        _ planner: inout Planner
    ) -> PortPlan? {
        if let given { return PortPlan(name: name, port: given.value, leased: false) }
        return planner.lease(name, of: Located(process, location), 0)
    }

    private static func resolved(
        _ templates: [Template],
        _ client: PortPlan,
        at location: Location,
        _ planner: inout Planner
    ) -> [String] {
        let values: [String: Template.Value] = [
            "namespace": .text(planner.manifest.namespace.value), "port.client": .number(client.port),
        ]
        return templates.compactMap { template in
            do throws(Template.Failure) {
                return try template.resolved(values)
            } catch {
                planner.error(at: location, error.message, remedy: error.remedy)
                return nil
            }
        }
    }
}
