import Deployment
import Discovery
import Logging
import NIOCore
import RequestPlane
import Supervisor

/// Waits until those that send requests know a worker that was started while the deployment serves.
///
/// A worker is ready as soon as it serves; that it is in discovery, and that frontends have read its model, comes a moment later. Were the
/// next worker ended before, frontends would have nobody left to send a request to.
struct WorkerSighting: Sendable {
    let plan: Plan
    let worker: ReplicaPlan
    let logger: Logger

    private static let patience = Duration.seconds(10)
    private static let pause = Duration.milliseconds(50)
    /// For frontends that do not say what they know: they watch discovery.
    private static let noticeTime = Duration.milliseconds(500)

    /// What was found in one look.
    enum Look: Sendable, Hashable {
        /// Discovery lacks it, or its model.
        case unregistered
        /// A frontend knows fewer workers of its model than there are.
        case unnoticed
        /// It is registered, and a frontend does not say what it knows.
        case registered
        case known
    }

    /// Waits.
    ///
    /// - Returns: what is wrong, in words; empty when it is known, or when nobody can tell.
    func wait() async -> [String] {
        guard let client = RegistrationCheck(plan: self.plan, logger: self.logger).client,
            let port = self.worker.ports.first(where: { $0.name == "system" })?.port,
            let id = await RegistrationCheck.instance(systemPort: port)
        else { return [] }
        let deadline = ContinuousClock.now + Self.patience
        var last = Look.unregistered
        while ContinuousClock.now < deadline, !Task.isCancelled {
            last = await self.look(for: id, client)
            switch last {
            case .known: return []
            case .registered:
                try? await Task.sleep(for: Self.noticeTime)
                return []
            case .unregistered, .unnoticed: try? await Task.sleep(for: Self.pause)
            }
        }
        if Task.isCancelled { return [] }
        let found = last == .unnoticed ? "not every frontend knows it" : "it is not in discovery with its model"
        return ["\(self.worker.name) is ready, but \(found) after \(Self.patience); going on without that"]
    }

    private func look(for id: InstanceID, _ client: any DiscoveryClient) async -> Look {
        guard let snapshot = try? await client.snapshot(.exact(self.plan.namespace)),
            let models = Self.models(of: id, in: snapshot)
        else { return .unregistered }
        var look = Look.known
        for frontend in self.plan.replicas where frontend.role == .frontend {
            guard let port = frontend.ports.first(where: { $0.name == "http" })?.port else { continue }
            for (model, workers) in models.sorted(by: { $0.key < $1.key }) {
                switch await Self.workers(of: model, in: self.plan.namespace, port: port) {
                case .some(let known) where known >= workers: break
                case .some: return .unnoticed
                case nil: look = .registered
                }
            }
        }
        return look
    }

    /// The models that an instance serves, and how many workers each has.
    ///
    /// - Returns: nil while the instance is not there, or has no model although others of its component have.
    static func models(of id: InstanceID, in snapshot: DiscoverySnapshot) -> [String: Int]? {
        let instances = Set(snapshot.instances.map(\.instance.id))
        guard instances.contains(id) else { return nil }
        var workers: [String: Set<InstanceID>] = [:]
        for record in snapshot.models where instances.contains(record.id) {
            if let name = record.card.displayName { workers[name, default: []].insert(record.id) }
        }
        let own = workers.filter { $0.value.contains(id) }
        guard own.isEmpty else { return own.mapValues(\.count) }
        let components = Set(snapshot.instances.map(\.instance).filter { $0.id == id }.map(\.endpoint.component))
        return snapshot.models.contains { components.contains($0.endpoint.component) } ? nil : [:]
    }

    /// How many workers of a model a frontend sends requests to.
    ///
    /// - Returns: nil when it does not say: a release before 1.6, a name with a slash in it, or nobody answers.
    private static func workers(of model: String, in namespace: String, port: Int) async -> Int? {
        let url = "http://127.0.0.1:\(port)/v1/models"
        if let request = try? HTTPRequest(url: "\(url)/\(model)/ready"),
            let answer = try? await HTTPClient.send(request, timeout: .seconds(2)),
            let count = Self.workers(inReadiness: String(buffer: answer.body), namespace)
        {
            return count
        }
        guard let request = try? HTTPRequest(url: url),
            let answer = try? await HTTPClient.send(request, timeout: .seconds(2)), answer.isSuccess,
            let list = try? JSONValue(parsing: Array(answer.body.readableBytesView))["data"]?.array
        else { return nil }
        return list.contains { $0["id"]?.string == model } ? nil : 0
    }

    /// The number of workers in what 1.6 answers about a model's readiness.
    static func workers(inReadiness text: String, _ namespace: String) -> Int? {
        guard let body = try? JSONValue(parsing: Array(text.utf8)), let namespaces = body["namespaces"]?.object else {
            return nil
        }
        guard let types = namespaces[namespace]?["worker_types"]?.object else { return 0 }
        return types.members.reduce(0) { $0 + ($1.value["workers"]?.int ?? 0) }
    }
}
