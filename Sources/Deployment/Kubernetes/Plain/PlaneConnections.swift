/// The connections of a generation, from its planes and nothing else.
struct PlaneConnections: Sendable {
    private let plan: ClusterPlan
    private let isOfOperator: Bool

    /// From where the system takes ports for sockets that ask for any, as ZeroMQ's and UCX's do (`ip_local_port_range`).
    private static let anyPorts = Connection.Ports(
        ClusterPorts.ephemeral.lowerBound,
        through: ClusterPorts.ephemeral.upperBound
    )

    /// - Parameters:
    ///   - plan: of the generation.
    ///   - isOfOperator: whether its pods are made by Dynamo's operator, which may tell them of a NATS server of the platform's own.
    init(_ plan: ClusterPlan, isOfOperator: Bool = false) {
        self.plan = plan
        self.isOfOperator = isOfOperator
    }

    /// In the order in which policies list them.
    var all: [Connection] {
        self.clients + self.requests + self.responses + self.metadata + self.events + self.transfers + self.broker
            + self.discovery + self.infrastructure + self.outside + self.names
    }

    // MARK: Who

    private func processes(_ roles: Role...) -> [ClusterProcess] {
        self.plan.processes.filter { roles.contains($0.role) }
    }

    private static func party(_ processes: [ClusterProcess]) -> Connection.Party { .processes(processes.map(\.name)) }

    /// Whoever sends requests on the request plane: they listen for the answers.
    private var callers: [ClusterProcess] {
        self.processes(.frontend, .router) + self.processes(.worker).filter(\.callsWorkers)
    }

    /// Whoever gets requests.
    private var servers: [ClusterProcess] { self.processes(.router, .worker) }

    /// Whoever takes part in the planes.
    private var members: [ClusterProcess] { self.processes(.frontend, .router, .worker) }

    /// A connection from one set to another for each port that a process of the other set has.
    private func connections(
        _ purpose: String,
        from sources: [ClusterProcess],
        to targets: [ClusterProcess],
        ports: (ClusterProcess) -> [Connection.Ports]
    ) -> [Connection] {
        var byPorts: [(ports: [Connection.Ports], targets: [ClusterProcess])] = []
        for target in targets {
            let ports = ports(target)
            guard !ports.isEmpty else { continue }
            if let index = byPorts.firstIndex(where: { $0.ports == ports }) {
                byPorts[index].targets.append(target)
            } else {
                byPorts.append((ports, [target]))
            }
        }
        return byPorts.compactMap { ports, targets in
            // A process has no need of itself, unless several pods of it know each other.
            guard sources.contains(where: { source in targets.contains { $0.name != source.name || $0.isPeered } })
            else { return nil }
            return Connection(purpose: purpose, from: Self.party(sources), to: Self.party(targets), ports: ports)
        }
    }

    // MARK: Clients

    private var clients: [Connection] {
        var connections: [Connection] = []
        for (purpose, roles) in [(ClusterPort.Purpose.http, "clients"), (.system, "metrics")] {
            for process in self.plan.processes {
                let ports = process.ports.filter { $0.purpose == purpose }.map { Connection.Ports($0.number) }
                guard !ports.isEmpty else { continue }
                connections.append(
                    Connection(
                        purpose: roles,
                        from: .clients(of: self.plan),
                        to: .processes([process.name]),
                        ports: ports
                    )
                )
            }
        }
        return connections
    }

    // MARK: Planes

    /// Requests, on the planes that have ports for them.
    private var requests: [Connection] {
        guard self.plan.planes.request != .nats else { return [] }
        return self.connections("requests", from: self.callers, to: self.servers) { $0.numbers(.request) }
    }

    /// Answers travel the other way on every plane: whoever works on a request connects to whoever sent it
    /// (contract `request-plane.md`, section 0).
    private var responses: [Connection] {
        let isUDP = self.plan.planes.response == .quic
        return self.connections("responses", from: self.servers, to: self.callers) { caller in
            caller.numbers(.response).map { Connection.Ports($0.first, isUDP: isUDP) }
        }
    }

    /// From 1.6 on frontends get a model's files from the system server of a worker (contract `discovery.md`, section 6).
    private var metadata: [Connection] {
        let isAsked = self.plan.shared.contains { $0.name == "DYN_SELF_HOST_METADATA" && $0.value == .text("true") }
        guard isAsked || self.plan.release.map({ $0 >= DynamoRelease(1, 6, 0) }) ?? false else { return [] }
        let workers = self.processes(.worker).filter { if case .dynamo = $0.program { true } else { false } }
        return self.connections("model files", from: self.processes(.frontend), to: workers) { $0.numbers(.system) }
    }

    /// Subscribers connect to publishers at ports that nobody can fix (contract `kv-events.md`, section 3).
    private var events: [Connection] {
        guard self.plan.planes.events == .zmq else { return [] }
        let subscribers = self.processes(.frontend, .router)
        let workers = self.processes(.worker)
        let several = subscribers.count > 1 || subscribers.contains(where: \.isPeered)
        return self.connections("events", from: subscribers, to: workers + (several ? subscribers : [])) { _ in
            [Self.anyPorts]
        }
    }

    /// KV blocks go from engine to engine.
    private var transfers: [Connection] {
        let engines = self.processes(.worker).filter(\.transfersBlocks)
        return self.connections("KV transfer", from: engines, to: engines) { engine in
            engine.transferPorts.map { Connection.Ports($0) } + [Self.anyPorts]
        }
    }

    // MARK: Servers

    private var broker: [Connection] {
        guard let nats = self.plan.nats else { return self.platform }
        return self.connections("NATS", to: nats, component: "nats", port: ClusterPorts.nats)
    }

    /// The NATS server of the operator's platform, of which its pods are told whatever the planes are.
    ///
    /// Before 1.6 Dynamo's processes end when they cannot reach one that they are told of (contract `discovery.md`, section 9).
    private var platform: [Connection] {
        let processes = self.members.filter { if case .dynamo = $0.program { true } else { false } }
        guard self.isOfOperator, !processes.isEmpty, let release = self.plan.release, release < DynamoRelease(1, 6, 0)
        else { return [] }
        let port = Connection.Ports(ClusterPorts.nats)
        return [Connection(purpose: "NATS", from: Self.party(processes), to: .addresses(nil), ports: [port])]
    }

    private var discovery: [Connection] {
        switch self.plan.discovery {
        case .etcd(let etcd): self.connections("etcd", to: etcd, component: "etcd", port: ClusterPorts.etcd)
        case .kubernetes:
            self.apiServer
        }
    }

    private var apiServer: [Connection] {
        let server = self.plan.settings.apiServer
        let blocks = server.addresses.isEmpty ? [nil] : server.addresses.map(Optional.some)
        return blocks.map { block in
            Connection(
                purpose: "API server",
                from: Self.party(self.members),
                to: .addresses(block),
                ports: server.ports.map { Connection.Ports($0) }
            )
        }
    }

    private func connections(
        _ purpose: String,
        to service: ClusterService,
        component: String,
        port: Int
    ) -> [Connection] {
        let members = Self.party(self.members)
        let addresses = service.urls.flatMap { $0.split(separator: ",") }
            .compactMap { ServerAddress(String($0), port: port) }
        guard !service.isManaged else {
            let port = addresses.first?.port ?? port
            return [Connection(purpose: purpose, from: members, to: .server(component), ports: [.init(port)])]
        }
        return addresses.map {
            Connection(purpose: purpose, from: members, to: .addresses($0.block), ports: [.init($0.port)])
        }
    }

    /// What the manifest itself calls infrastructure is for those who wait for it, and for those who are told its Service's name.
    private var infrastructure: [Connection] {
        self.processes(.infrastructure).flatMap { server in
            self.connections("infrastructure", from: self.users(of: server), to: [server]) { $0.numbers(.other) }
        }
    }

    private func users(of server: ClusterProcess) -> [ClusterProcess] {
        let name = PlainNames(self.plan).process(server)
        return self.plan.processes.filter { user in
            user.name != server.name
                && (user.dependencies.contains { $0.process == server.process } || user.isTold(host: name))
        }
    }

    /// What a person should know: processes that accept nobody.
    var notes: [String] {
        guard self.plan.settings.networkPolicy else { return [] }
        return self.processes(.infrastructure).filter { !$0.numbers(.other).isEmpty && self.users(of: $0).isEmpty }
            .map { server in
                "the NetworkPolicy lets nobody connect to process '\(server.process)': nobody waits for it ('dependsOn'), or is told "
                    + "its Service's name, \(PlainNames(self.plan).process(server)), in an argument or a variable"
            }
    }

    // MARK: Outside

    private var outside: [Connection] {
        var connections: [Connection] = []
        var readers: [[Int]: [ClusterProcess]] = [:]
        for process in self.members where process.readsHub(self.plan) {
            readers[process.hubPorts, default: []].append(process)
        }
        for (ports, processes) in readers.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            connections.append(
                Connection(
                    purpose: "model hub",
                    from: Self.party(processes),
                    to: .addresses(nil),
                    ports: ports.map { Connection.Ports($0) }
                )
            )
        }
        for process in self.plan.processes {
            for address in process.telemetry {
                connections.append(
                    Connection(
                        purpose: "telemetry",
                        from: .processes([process.name]),
                        to: .addresses(address.block),
                        ports: [.init(address.port)]
                    )
                )
            }
        }
        return connections
    }

    private var names: [Connection] {
        guard !self.plan.processes.isEmpty else { return [] }
        let ports: [Connection.Ports] = [.init(53, isUDP: true), .init(53)]
        return [Connection(purpose: "DNS", from: Self.party(self.plan.processes), to: .names, ports: ports)]
    }
}
