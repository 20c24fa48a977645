import Deployment
import Discovery
import DynamoRuntime
import Logging
import NIOCore
import RequestPlane
import Supervisor

/// Compares what registered in discovery with the plan: every worker there, and all on the manifest's plane.
struct RegistrationCheck: Sendable {
    let plan: Plan
    let logger: Logger

    /// What a worker that serves needs to register, at the most.
    private static let patience = Duration.seconds(10)
    private static let pause = Duration.milliseconds(200)

    /// What is wrong; each text names the process as far as it can be known.
    func mismatches(at stage: Supervisor.VerificationStage) async -> [String] {
        guard let client = self.client else { return [] }
        let deadline = ContinuousClock.now + Self.patience
        while true {
            // Who serves is asked first: an instance that comes between the two looks is in the second.
            let owners = await self.owners()
            let snapshot: DiscoverySnapshot
            do {
                snapshot = try await client.snapshot(.exact(self.plan.namespace))
            } catch {
                return stage == .everythingReady ? ["discovery could not be read: \(error)"] : []
            }
            let instances = snapshot.instances.map(\.instance)
            let wrong = Self.wrongPlane(instances, owners: owners, plan: self.plan)
            guard stage == .everythingReady else { return wrong }
            let missing = Self.missing(instances, owners: owners)
            // Dynamo's workers name their instance a moment before they register it.
            guard wrong.isEmpty, !missing.isEmpty, ContinuousClock.now < deadline, !Task.isCancelled else {
                return wrong + missing
            }
            try? await Task.sleep(for: Self.pause)
        }
    }

    /// Processes of another generation that are to be found in this one's namespace.
    func strangers(from other: RegistrationCheck) async -> [String] {
        guard let client = self.client, let snapshot = try? await client.snapshot(.exact(self.plan.namespace)) else {
            return []
        }
        let owners = await other.owners()
        return snapshot.instances.compactMap { record in
            guard let process = owners[record.instance.id] else { return nil }
            return
                "\(process) of generation \(other.plan.generation) registered \(record.instance.endpoint), which is in the namespace of "
                + "generation \(self.plan.generation) (\(self.plan.namespace)): clients of one would reach the other; remove what sets "
                + "the namespace in its command (the launcher sets DYN_NAMESPACE)"
        }
    }

    /// Where the processes of the plan register; nil when that is inside one process only.
    var client: (any DiscoveryClient)? {
        switch self.plan.discovery {
        case .file(let directory): FileDiscovery(directory: directory, logger: self.logger)
        case .etcd(let endpoints):
            EtcdDiscovery(
                RuntimeConfiguration.etcd(endpoints, variables: self.credentials),
                logger: self.logger
            )
        case .memory: nil
        }
    }

    /// The environment of a process that registers or looks up: what etcd asks of it, it asks of the launcher too.
    var credentials: [String: String] {
        let replica = self.plan.replicas.first { $0.role != .infrastructure }
        return Dictionary(replica?.environment.map { ($0.name, $0.value) } ?? []) { first, _ in first }
    }

    static func wrongPlane(_ instances: [Instance], owners: [InstanceID: String], plan: Plan) -> [String] {
        instances.filter { $0.transport.mode.rawValue != plan.planes.request.rawValue }.map { instance in
            let process = owners[instance.id] ?? "a process of namespace \(instance.endpoint.namespace)"
            return "\(process) registered \(instance.endpoint) on the \(instance.transport.mode.rawValue) plane "
                + "(\(instance.transport.value)), but the deployment's plane is \(plan.planes.request.rawValue): "
                + "remove what sets another plane in its command or its program (the launcher sets DYN_REQUEST_PLANE)"
        }
    }

    /// Workers whose system server names an instance that discovery does not have.
    static func missing(_ instances: [Instance], owners: [InstanceID: String]) -> [String] {
        let registered = Set(instances.map(\.id))
        return owners.filter { !registered.contains($0.key) }.map { id, process in
            "\(process) serves as instance \(id), but discovery has no such instance: its DYN_DISCOVERY_BACKEND, "
                + "DYN_FILE_KV, ETCD_ENDPOINTS or DYN_NAMESPACE differs from the deployment's"
        }.sorted()
    }

    /// Which replica an instance belongs to, from the metrics of each worker's system server, which are labelled with it.
    func owners() async -> [InstanceID: String] {
        await withTaskGroup(of: (String, InstanceID?).self) { group in
            for replica in self.plan.replicas where replica.role == .worker {
                guard let port = replica.ports.first(where: { $0.name == "system" })?.port else { continue }
                group.addTask { (replica.name, await Self.instance(systemPort: port)) }
            }
            return await group.reduce(into: [:]) { owners, found in
                if let id = found.1 { owners[id] = found.0 }
            }
        }
    }

    /// The instance that a worker's system server names; nil while it does not.
    static func instance(systemPort: Int) async -> InstanceID? {
        guard let request = try? HTTPRequest(url: "http://127.0.0.1:\(systemPort)/metrics"),
            let answer = try? await HTTPClient.send(request, timeout: .seconds(5)), answer.isSuccess
        else { return nil }
        return Self.workerID(inMetrics: String(buffer: answer.body))
    }

    static func workerID(inMetrics text: String) -> InstanceID? {
        guard let label = text.firstRange(of: "worker_id=\"") else { return nil }
        let hex = text[label.upperBound...].prefix { $0 != "\"" }
        return UInt64(hex, radix: 16).map(InstanceID.init(rawValue:))
    }
}
