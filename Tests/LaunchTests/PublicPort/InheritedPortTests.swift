import Deployment
import Gateway
import Supervisor
import Synchronization
import Testing

@testable import dynamo_launch

/// A launcher whose public port was served before it, by the process of an earlier launcher.
@Suite struct InheritedPortTests {
    /// Remembers what it was told.
    private final class Told: PublicGateway {
        let inherited: GatewayTraffic?
        let last: Mutex<GatewayTraffic?> = Mutex(nil)
        let waited: Mutex<[Int]> = Mutex([])
        let drains = Mutex(0)

        init(_ inherited: GatewayTraffic?) { self.inherited = inherited }

        func bind() async throws(GatewayError) {}
        func serve() async -> String? { nil }
        func drain(within limit: Duration) async { self.drains.withLock { $0 += 1 } }
        func pause(ifIdleFor idle: Duration) async -> Bool { false }
        func setBackends(_ backends: [Backend], shares: [Int: Int]?) {
            self.last.withLock { $0 = GatewayTraffic(backends: backends, shares: shares) }
        }
        func waitUntilIdle(_ backend: Backend, within limit: Duration) async -> Bool { true }
        func waitUntilIdle(generation: Int, within limit: Duration) async -> Bool {
            self.waited.withLock { $0.append(generation) }
            return true
        }
        func figures(of generation: Int) async -> TrafficFigures { TrafficFigures() }
        var idleTime: Duration { .zero }
        var status: GatewayStatus { GatewayStatus() }
        var addresses: [String] { [] }
        var processID: Int32? { 7 }
        func descriptors() async -> [Int32?] { [] }
        func keepSocketFiles() async {}
    }

    private static func plan(_ generation: Int = 1, port: Int = 5000) -> Plan {
        var plan = Plan(
            deployment: "d",
            generation: generation,
            planes: PlaneSet(request: .tcp, events: .none),
            namespace: "n",
            discovery: .memory,
            publicAddress: HTTPAddress(host: "127.0.0.1", port: 8000),
            gateway: GatewayPlan(),
            directories: DeploymentDirectories(state: "/s", runtime: "/r"),
            replicas: []
        )
        plan.replicas = [Self.frontend(port)]
        return plan
    }

    private static func frontend(_ port: Int) -> ReplicaPlan {
        ReplicaPlan(
            process: "frontend",
            name: "frontend",
            role: .frontend,
            executable: "/bin/true",
            workingDirectory: "/",
            ports: [PortPlan(name: "http", port: port, leased: true)]
        )
    }

    private static func backend(_ generation: Int = 1, port: Int = 5000) -> Backend {
        Backend(id: "frontend", generation: generation, host: "127.0.0.1", port: port)
    }

    private static func port(_ traffic: GatewayTraffic?) async throws -> (PublicPort, Told) {
        let gateway = Told(traffic)
        let port = PublicPort(plan: Self.plan(), gateway: gateway)
        try await port.bind()
        return (port, gateway)
    }

    private static func state(_ state: ReplicaStatus.State) -> SupervisorNotice {
        .replicaState(replica: "frontend", state: state, detail: nil)
    }

    @Test func `a frontend that goes on gets requests while it is looked at, and what happens to it counts`()
        async throws
    {
        let traffic = GatewayTraffic(backends: [Self.backend()], shares: nil)
        let (port, gateway) = try await Self.port(traffic)
        port.add(Self.plan())
        for state in [ReplicaStatus.State.waiting, .starting, .ready] { port.observe(Self.state(state), of: 1) }
        #expect(gateway.last.withLock { $0 } == nil, "nothing changes for the gateway")
        port.observe(.exited(replica: "frontend", exit: "killed", lastLines: []), of: 1)
        #expect(gateway.last.withLock { $0 } == GatewayTraffic())
        // From now on it is as any other one.
        for state in [ReplicaStatus.State.starting, .ready] { port.observe(Self.state(state), of: 1) }
        #expect(gateway.last.withLock { $0 } == traffic)
        port.observe(Self.state(.unready), of: 1)
        #expect(gateway.last.withLock { $0 } == GatewayTraffic())
    }

    @Test func `one that is started anew instead gets nothing before it is ready`() async throws {
        let (port, gateway) = try await Self.port(GatewayTraffic(backends: [Self.backend(port: 4000)], shares: nil))
        port.add(Self.plan())
        #expect(gateway.last.withLock { $0 } == nil)
        port.observe(.replicaPlanned(Self.frontend(5000)), of: 1)
        port.observe(.started(replica: "frontend", pid: 1), of: 1)
        #expect(gateway.last.withLock { $0 } == GatewayTraffic())
        port.observe(Self.state(.ready), of: 1)
        #expect(gateway.last.withLock { $0 }?.backends == [Self.backend(port: 5000)])
    }

    @Test func `shares of a migration stay until it is said which generations go on`() async throws {
        let traffic = GatewayTraffic(backends: [Self.backend(1), Self.backend(2, port: 6000)], shares: [1: 75, 2: 25])
        let (port, gateway) = try await Self.port(traffic)
        port.add(Self.plan())
        port.observe(Self.state(.ready), of: 1)
        #expect(gateway.last.withLock { $0 } == nil)
        await port.forgetInherited()
        #expect(gateway.last.withLock { $0 } == GatewayTraffic(backends: [Self.backend(1)], shares: nil))
        #expect(gateway.waited.withLock { $0 } == [2])
    }

    @Test func `the first generation that is ready has everything that nobody took over`() async throws {
        let traffic = GatewayTraffic(backends: [Self.backend(1), Self.backend(2, port: 6000)], shares: [1: 75, 2: 25])
        let (port, gateway) = try await Self.port(traffic)
        port.add(Self.plan())
        port.observe(.ready(seconds: 1, model: nil), of: 1)
        #expect(gateway.last.withLock { $0 } == GatewayTraffic(backends: [Self.backend(1)], shares: nil))
    }

    @Test func `a generation that gives up in mid-migration does not close the port, and the last one of all does`()
        async throws
    {
        let (port, gateway) = try await Self.port(nil)
        port.add(Self.plan())
        port.observe(Self.state(.ready), of: 1)
        port.setMigrating(true)
        await port.close(1)
        #expect(gateway.drains.withLock { $0 } == 0 && gateway.waited.withLock { $0 } == [1])
        // The next one gets what waits.
        port.add(Self.plan(2, port: 6000))
        port.observe(Self.state(.ready), of: 2)
        port.setShares([2: 100])
        port.remove(1)
        #expect(gateway.last.withLock { $0 }?.backends == [Self.backend(2, port: 6000)])
        port.setMigrating(false)
        await port.close(2)
        #expect(gateway.drains.withLock { $0 } == 1)
    }

    @Test func `a generation that is started beside one that goes on gets nothing until it has a share`() async throws {
        let (port, gateway) = try await Self.port(GatewayTraffic(backends: [Self.backend(1)], shares: nil))
        port.add(Self.plan())
        port.add(Self.plan(2, port: 6000))
        port.observe(Self.state(.ready), of: 2)
        let both = [Self.backend(1), Self.backend(2, port: 6000)]
        #expect(gateway.last.withLock { $0 } == GatewayTraffic(backends: both, shares: [1: 1]))
        port.setShares([2: 100])
        #expect(gateway.last.withLock { $0 } == GatewayTraffic(backends: both, shares: [2: 100]))
    }
}
