import Deployment
import Discovery
import DynamoRuntime
import Logging
import RequestPlane
import Supervisor

/// Gathers what is to be known around processes: discovery, ports, NATS servers.
struct Examination: Sendable {
    let processes: [FoundProcess]

    private static let patience = Duration.seconds(3)

    func facts(launched: DoctorFacts.Launched?) async -> DoctorFacts {
        async let nats = self.nats()
        let instances = await self.instances()
        let discoveries = await self.discoveries(instances)
        return DoctorFacts(
            launched: launched,
            processes: self.processes,
            discoveries: discoveries,
            nats: await nats,
            holders: self.holders(),
            instances: instances
        )
    }

    private func nats() async -> [String: DoctorFacts.NATSAnswer] {
        await withTaskGroup(of: (String, DoctorFacts.NATSAnswer).self) { group in
            for url in Set(self.processes.compactMap(\.natsURL)) {
                group.addTask { (url, await NATSPing.info(url: url, timeout: Self.patience)) }
            }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
    }

    private func holders() -> [Int: DoctorFacts.Holder] {
        let listeners = PortListeners()
        var holders: [Int: DoctorFacts.Holder] = [:]
        for process in self.processes {
            for (_, port) in process.wantedPorts where !process.process.listeners.contains(where: { $0.port == port }) {
                guard listeners.isTaken(port) else { continue }
                let holder = listeners.holder(of: port)
                // What its child listens on is its own.
                let isOwn = holder?.isBelow(process.pid) ?? false
                // Of another user, whose descriptors cannot be seen.
                holders[port] = DoctorFacts.Holder(
                    pid: isOwn ? process.pid : holder?.pid ?? 0,
                    words: holder?.words ?? "a process of another user"
                )
            }
        }
        return holders
    }

    /// What workers' system servers call themselves.
    private func instances() async -> [Int32: String] {
        await withTaskGroup(of: (Int32, InstanceID?).self) { group in
            for process in self.processes where process.role == .worker {
                guard let port = process.systemPort else { continue }
                group.addTask { (process.pid, await RegistrationCheck.instance(systemPort: port)) }
            }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1?.hex }
        }
    }

    // MARK: Discovery

    private func discoveries(_ instances: [Int32: String]) async -> [DoctorFacts.Discovery] {
        var result: [DoctorFacts.Discovery] = []
        for (place, members) in Dictionary(grouping: self.processes, by: \.discoveryPlace).sorted(by: {
            $0.key < $1.key
        }) {
            guard let first = members.first, let plan = first.discoveryPlan else { continue }
            result.append(await self.read(plan, place: place, variables: first.process.environment ?? [:], instances))
        }
        return result
    }

    private func read(
        _ plan: DiscoveryPlan,
        place: String,
        variables: [String: String],
        _ instances: [Int32: String]
    ) async -> DoctorFacts.Discovery {
        let logger = Logger(label: "doctor") { _ in SwiftLogNoOpLogHandler() }
        var discovery = DoctorFacts.Discovery(place: place)
        do {
            let snapshot: DiscoverySnapshot
            switch plan {
            case .memory: return discovery
            case .file(let directory):
                let client = FileDiscovery(directory: directory, logger: logger)
                snapshot = try await client.snapshot(.all)
                discovery.expired = try await client.leftovers().map { .init(key: $0.key, age: $0.age.inSeconds) }
            case .etcd(let endpoints):
                let configuration = RuntimeConfiguration.etcd(endpoints, variables: variables)
                snapshot = try await EtcdDiscovery(configuration, logger: logger).snapshot(.all)
            }
            discovery.instances = await self.registered(snapshot.instances.map(\.instance), instances)
        } catch {
            discovery.failure = "\(error)"
        }
        return discovery
    }

    private func registered(
        _ found: [Instance],
        _ instances: [Int32: String]
    ) async -> [DoctorFacts.Registered] {
        let ports = Dictionary(
            self.processes.flatMap { process in process.process.listeners.map { ($0.port, process.pid) } },
            uniquingKeysWith: { first, _ in first }
        )
        let owners = Dictionary(instances.map { ($0.value, $0.key) }, uniquingKeysWith: { first, _ in first })
        return await withTaskGroup(of: (Int, DoctorFacts.Registered).self) { group in
            for (index, instance) in found.enumerated() {
                let address = Self.address(of: instance.transport)
                let owner = owners[instance.id.hex] ?? address.flatMap { ports[$0.port] }
                group.addTask {
                    let record = DoctorFacts.Registered(
                        namespace: instance.endpoint.namespace,
                        endpoint: "\(instance.endpoint.component).\(instance.endpoint.name)",
                        id: instance.id.hex,
                        plane: instance.transport.mode.rawValue,
                        address: instance.transport.value,
                        reach: await Self.reach(address),
                        pid: owner
                    )
                    return (index, record)
                }
            }
            return await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private static func reach(_ address: (host: String, port: Int)?) async -> DoctorFacts.Registered.Reach {
        guard let (host, port) = address else { return .unasked }
        guard let failure = await TCPProbe.failure(host: host, port: port, timeout: Self.patience) else { return .open }
        return failure.isRefused ? .refused : .blocked("\(failure)")
    }

    /// The host and the port of an address that connections are made to.
    private static func address(of transport: TransportAddress) -> (host: String, port: Int)? {
        let text: Substring
        switch transport {
        case .tcp(let value): text = value[...]
        case .http(let value): text = value.firstRange(of: "://").map { value[$0.upperBound...] } ?? value[...]
        case .nats: return nil
        }
        let authority = text.prefix { $0 != "/" }
        guard let colon = authority.lastIndex(of: ":"), let port = Int(authority[authority.index(after: colon)...])
        else {
            return nil
        }
        var host = authority[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return (String(host), port)
    }
}
