import Deployment
import Discovery
import FoundationEssentials
import LoadTest
import Logging
import NIOCore
import RequestPlane
import RequestPlaneTransports
import Supervisor

/// Finds out what a name or URL on the command line stands for.
enum BenchTargets {
    /// A URL, or a running deployment.
    ///
    /// - Parameters:
    ///   - name: nil for the only deployment that runs.
    ///   - model: whom to ask; nil takes the first model that is listed.
    /// - Returns: what to measure.
    /// - Throws: an exit code, after saying what is wrong.
    static func resolve(_ name: String?, model: String?) async throws -> MeasuredTarget {
        guard let name, name.contains("://") else { return try await self.deployment(name, model: model) }
        let (host, port) = try self.address(of: name)
        return MeasuredTarget(
            label: name,
            target: HTTPLoad(host: host, port: port, model: try await self.model(model, at: host, port)),
            processes: []
        )
    }

    /// A running deployment, with its processes.
    static func deployment(_ name: String?, model: String?) async throws -> MeasuredTarget {
        let deployment = try await RunningDeployment.find(name)
        let status = try await deployment.ask { try await $0.status() }
        let (host, port) = try self.address(of: status.url)
        return MeasuredTarget(
            label: deployment.name,
            target: HTTPLoad(host: host, port: port, model: try await self.model(model, at: host, port)),
            processes: self.processes(of: status)
        )
    }

    /// An endpoint of running deployments; calls live as long as the body runs.
    static func endpoint(
        _ endpoint: String,
        of names: [String?],
        model: String?,
        _ body: ([MeasuredTarget]) async throws -> Void
    ) async throws {
        let parts = endpoint.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, !parts.contains("") else {
            throw RunningDeployment.failure("error: --endpoint takes component.endpoint, for example backend.generate")
        }
        let logger = Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() }
        let manager = NetworkManager(configuration: try .init(environment: [:], logger: logger), logger: logger)
        var targets: [MeasuredTarget] = []
        for name in names {
            if let name, name.contains("://") {
                throw RunningDeployment.failure(
                    "error: --endpoint needs deployments that this machine runs, not a URL: '\(name)'"
                )
            }
            let deployment = try await RunningDeployment.find(name)
            let (status, plan) = try await deployment.ask { (try await $0.status(), try await $0.plan()) }
            let instances = try await self.instances(of: parts[0], parts[1], plan: plan, logger: logger)
            targets.append(
                MeasuredTarget(
                    label: "\(deployment.name) (\(plan.planes.request.rawValue))",
                    target: EndpointLoad(
                        client: manager.client,
                        instances: instances,
                        model: model ?? status.model ?? "bench"
                    ),
                    processes: self.processes(of: status)
                )
            )
        }
        let measured = targets
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await manager.run() }
            try await body(measured)
            group.cancelAll()
        }
    }

    private static func instances(
        of component: String,
        _ endpoint: String,
        plan: Plan,
        logger: Logger
    ) async throws -> [Instance] {
        guard let client = RegistrationCheck(plan: plan, logger: logger).client else {
            throw RunningDeployment.failure(
                "error: deployment \(plan.deployment) has discovery in memory: its workers cannot be called from outside"
            )
        }
        let all = try await client.snapshot(.exact(plan.namespace)).instances.map(\.instance)
        let instances = all.filter { $0.endpoint.component == component && $0.endpoint.name == endpoint }
        guard instances.isEmpty else { return instances }
        let known = Set(all.map { "\($0.endpoint.component).\($0.endpoint.name)" }).sorted()
        throw RunningDeployment.failure(
            "error: deployment \(plan.deployment) has no instance of \(component).\(endpoint); "
                + (known.isEmpty ? "nothing is registered" : "it has \(known.joined(separator: ", "))")
        )
    }

    private static func processes(of status: DeploymentStatus) -> [(name: String, pid: Int32)] {
        status.replicas.compactMap { replica in replica.pid.map { (replica.name, $0) } }
    }

    private static func address(of url: String) throws -> (host: String, port: Int) {
        guard let parsed = URL(string: url), parsed.scheme == "http", let host = parsed.host(), !host.isEmpty else {
            throw RunningDeployment.failure(
                "error: '\(url)' is not a URL of the form http://host:port (TLS is not spoken here)"
            )
        }
        guard parsed.path.isEmpty || parsed.path == "/" else {
            throw RunningDeployment.failure(
                "error: '\(url)' has a path; give only http://host:port, requests go to /v1/chat/completions"
            )
        }
        return (host, parsed.port ?? 80)
    }

    private struct ModelList: Decodable {
        struct Model: Decodable { var id: String }
        var data: [Model]
    }

    private static func model(_ wanted: String?, at host: String, _ port: Int) async throws -> String {
        let answer: HTTPAnswer
        do {
            let request = HTTPRequest(target: .tcp(host: host, port: port), path: "/v1/models")
            answer = try await HTTPClient.send(request, timeout: .seconds(10))
        } catch {
            throw RunningDeployment.failure("error: http://\(host):\(port)/v1/models: \(error.description)")
        }
        let list = try? JSONDecoder().decode(ModelList.self, from: Data(answer.body.readableBytesView))
        let known = list?.data.map(\.id) ?? []
        if let wanted {
            guard known.isEmpty || known.contains(wanted) else {
                throw RunningDeployment.failure(
                    "error: http://\(host):\(port) has no model '\(wanted)'; it has \(known.joined(separator: ", "))"
                )
            }
            return wanted
        }
        guard let first = known.first else {
            throw RunningDeployment.failure(
                "error: http://\(host):\(port)/v1/models lists no model (status \(answer.status)); name one with --model"
            )
        }
        return first
    }
}
