import Deployment

@testable import Rollout

/// Plans of two generations for tests.
enum Generations {
    static func worker(
        _ process: String = "worker",
        _ index: Int? = nil,
        gpus: [Int] = [],
        port: Int? = nil,
        leased: Int? = nil
    ) -> ReplicaPlan {
        let ports =
            [port.map { PortPlan(name: "system", port: $0, leased: false) }]
            + [leased.map { PortPlan(name: "system", port: $0, leased: true) }]
        return ReplicaPlan(
            process: process,
            index: index ?? 0,
            name: index.map { "\(process)-\($0)" } ?? process,
            role: .worker,
            executable: "/bin/worker",
            workingDirectory: "/",
            ports: ports.compactMap { $0 },
            gpus: gpus.map(String.init),
            origin: "chat.yaml:9:3"
        )
    }

    static func workers(_ count: Int, process: String = "worker", gpus: (Int) -> [Int] = { _ in [] }) -> [ReplicaPlan] {
        (0..<count).map { self.worker(process, $0, gpus: gpus($0)) }
    }

    static func frontend(port: Int? = nil) -> ReplicaPlan {
        ReplicaPlan(
            process: "frontend",
            name: "frontend",
            role: .frontend,
            executable: "/bin/frontend",
            workingDirectory: "/",
            ports: port.map { [PortPlan(name: "http", port: $0, leased: false)] } ?? [],
            stop: StopPlan(grace: 30),
            origin: "chat.yaml:5:3"
        )
    }

    static func side(
        _ number: Int,
        _ workers: [ReplicaPlan],
        frontend: ReplicaPlan = Self.frontend(),
        namespace: String? = nil,
        plane: PlaneSet.Request = .tcp,
        change: (inout Plan) -> Void = { _ in }
    ) -> MigrationPlan.Side {
        var plan = Plan(
            deployment: "chat",
            manifestPath: "chat.yaml",
            planes: PlaneSet(request: plane, events: .none, response: .tcp),
            namespace: namespace ?? "g\(number)-chat",
            discovery: .file(directory: "/tmp/discovery"),
            publicAddress: HTTPAddress(host: "0.0.0.0", port: 8000),
            gateway: GatewayPlan(),
            directories: DeploymentDirectories(state: "/s", runtime: "/r"),
            replicas: [frontend] + workers
        )
        change(&plan)
        return MigrationPlan.Side(number: number, plan: plan)
    }
}
