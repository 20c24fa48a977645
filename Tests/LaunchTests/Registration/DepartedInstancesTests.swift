import Deployment
import RequestPlane
import Supervisor
import Testing

@testable import dynamo_launch

/// Whose instance may be taken out of discovery.
@Suite struct DepartedInstancesTests {
    private typealias Ledger = DepartedInstances.Ledger
    private static let instance = InstanceID(rawValue: 7)

    @Test func `an instance goes with the process that was it`() throws {
        var ledger = Ledger()
        #expect(ledger.unknown("worker") == nil && ledger.ended("worker") == nil, "never started")
        ledger.started("worker")
        let run = try #require(ledger.unknown("worker"))
        #expect(ledger.found(Self.instance, of: run) == nil, "it runs")
        #expect(ledger.unknown("worker") == nil, "it is known")
        #expect(ledger.ended("worker") == Self.instance)
        #expect(ledger.ended("worker") == nil, "said already")
        // What is started in its place is another instance.
        ledger.started("worker")
        #expect(ledger.ended("worker") == nil)
    }

    @Test func `what is found late goes at once, if it was that run`() throws {
        var ledger = Ledger()
        ledger.started("worker")
        let first = try #require(ledger.unknown("worker"))
        #expect(ledger.ended("worker") == nil)
        #expect(ledger.unknown("worker") == nil, "nobody is there to be asked")
        #expect(ledger.found(Self.instance, of: first) == Self.instance)
        ledger.started("worker")
        #expect(ledger.found(Self.instance, of: first) == nil)
        #expect(ledger.ended("worker") == nil)
    }

    @Test func `an instance is looked for by one at a time, and again in the next run`() {
        var ledger = Ledger()
        ledger.started("worker")
        #expect(ledger.seek("worker")?.number == 1)
        #expect(ledger.seek("worker") == nil && ledger.unknown("worker") != nil)
        ledger.started("worker")
        #expect(ledger.seek("worker")?.number == 2)
    }

    @Test func `an instance that another process is, too, stays`() throws {
        var ledger = Ledger()
        for name in ["a", "b"] {
            ledger.started(name)
            #expect(ledger.found(Self.instance, of: try #require(ledger.unknown(name))) == nil)
        }
        #expect(ledger.ended("a") == nil)
        #expect(ledger.ended("b") == Self.instance)
    }

    @Test func `the plan has what was added, and what was changed once it is started anew`() {
        func worker(_ index: Int, port: Int) -> ReplicaPlan {
            ReplicaPlan(
                process: "worker",
                index: index,
                name: "worker-\(index)",
                role: .worker,
                executable: "/bin/worker",
                workingDirectory: "/",
                ports: [PortPlan(name: "system", port: port, leased: true)],
                origin: "chat.yaml:9:3"
            )
        }
        func plan(_ replicas: ReplicaPlan...) -> Plan {
            Plan(
                deployment: "chat",
                planes: PlaneSet(request: .tcp, events: .none, response: .tcp),
                namespace: "chat",
                discovery: .file(directory: "/tmp/discovery"),
                publicAddress: HTTPAddress(host: "0.0.0.0", port: 8000),
                gateway: GatewayPlan(),
                directories: DeploymentDirectories(state: "/s", runtime: "/r"),
                replicas: replicas
            )
        }
        let current = CurrentPlan(plan(worker(0, port: 1), worker(1, port: 2)))
        current.observe(.planChanged(plan(worker(1, port: 3), worker(2, port: 4)), isWayBack: false))
        #expect(current.plan.replicas == [worker(1, port: 2), worker(2, port: 4)])
        current.observe(.replicaPlanned(worker(1, port: 3)))
        #expect(current.plan.replicas == [worker(1, port: 3), worker(2, port: 4)])
    }
}
