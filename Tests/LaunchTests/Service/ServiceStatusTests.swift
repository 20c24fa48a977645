import Deployment
import Supervisor
import Systemd
import Testing

@testable import dynamo_launch

/// What the service manager is told, and when.
@Suite struct ServiceStatusTests {
    private static let start = ContinuousClock.now
    private var status: ServiceStatus

    private static func plan(timeout: Double? = 100, restarts: Int? = 2) -> Plan {
        func replica(_ name: String, _ role: Role, after: [Dependency] = []) -> ReplicaPlan {
            ReplicaPlan(
                process: name,
                name: name,
                role: role,
                executable: "/bin/true",
                workingDirectory: "/",
                dependencies: after,
                readiness: [
                    LayerProbe(layer: .alive, probe: .process), LayerProbe(layer: .health, probe: .process),
                ],
                timing: ProbeTiming(startupTimeout: timeout),
                restart: RestartPolicy(maximumRestarts: restarts),
                stop: StopPlan(grace: 20)
            )
        }
        return Plan(
            deployment: "d",
            planes: PlaneSet(request: .tcp, events: .none),
            namespace: "n",
            discovery: .memory,
            publicAddress: HTTPAddress(host: "0.0.0.0", port: 8000),
            directories: DeploymentDirectories(state: "/s", runtime: "/r"),
            replicas: [
                replica("worker", .worker),
                replica("frontend", .frontend, after: [Dependency(process: "worker", layer: .health)]),
            ]
        )
    }

    init() { self.status = Self.status() }

    private static func status(_ plan: Plan = Self.plan(), watchdog: Bool = false) -> ServiceStatus {
        ServiceStatus(plan: plan, verificationTimeout: .seconds(30), hasWatchdog: watchdog)
    }

    private func at(_ seconds: Int) -> ContinuousClock.Instant { Self.start + .seconds(seconds) }

    @Test mutating func `a change of the manifest is a reload, from its beginning to its end`() {
        for name in ["worker", "frontend"] {
            _ = self.status.happened(.started(replica: name, pid: 1), at: self.at(0))
            _ = self.status.happened(.replicaState(replica: name, state: .ready, detail: nil), at: self.at(1))
        }
        _ = self.status.happened(.ready(seconds: 1, model: nil), at: self.at(1))
        var plan = Self.plan()
        plan.replicas.removeLast()
        #expect(
            self.status.happened(.planChanged(plan, isWayBack: false), at: self.at(2))
                == [.reloading, .status("applying a changed manifest: 1 of 1 ready")]
        )
        // systemd is told that it goes on, also while nothing is started.
        #expect(self.status.beat(at: self.at(3)) == [.extendTimeout(.seconds(60))])
        _ = self.status.happened(.degraded(missing: ["worker"]), at: self.at(4))
        #expect(
            self.status.happened(.planChanged(Self.plan(), isWayBack: true), at: self.at(5)).contains(.reloading)
                == false,
            "once"
        )
        _ = self.status.happened(.recovered, at: self.at(6))
        #expect(
            self.status.happened(.changeEnded("why"), at: self.at(7)) == [
                .ready, .status("ready: http://127.0.0.1:8000"),
            ]
        )
        #expect(self.status.beat(at: self.at(8)).isEmpty)
    }

    @Test mutating func `a deployment that is stopped while it is changed is not ready again`() {
        _ = self.status.happened(.ready(seconds: 1, model: nil), at: self.at(1))
        _ = self.status.happened(.planChanged(Self.plan(), isWayBack: false), at: self.at(2))
        #expect(self.status.happened(.stopping(now: false), at: self.at(3)).contains(.stopping))
        #expect(self.status.happened(.changeEnded("stopped"), at: self.at(3)).contains(.ready) == false)
    }

    @Test mutating func `the status says how many are ready and what the first late one does, for how long`() {
        #expect(
            self.status.happened(.started(replica: "worker", pid: 1), at: self.at(0))
                == [.status("0 of 2 ready: worker starting, 0 s; 1 more")]
        )
        #expect(
            self.status.happened(.layerReached(replica: "worker", layer: .alive, seconds: 0), at: self.at(1))
                == [.status("0 of 2 ready: worker loading model, 1 s; 1 more")]
        )
        #expect(
            self.status.beat(at: self.at(41)) == [
                .extendTimeout(.seconds(60)), .status("0 of 2 ready: worker loading model, 41 s; 1 more"),
            ]
        )
        _ = self.status.happened(.replicaState(replica: "worker", state: .ready, detail: nil), at: self.at(50))
        #expect(
            self.status.happened(.started(replica: "frontend", pid: 2), at: self.at(51))
                == [.status("1 of 2 ready: frontend starting, 0 s")]
        )
        #expect(
            self.status.happened(.replicaState(replica: "frontend", state: .ready, detail: nil), at: self.at(53))
                == [.status("2 of 2 ready: comparing discovery with the plan")]
        )
        #expect(
            self.status.happened(.ready(seconds: 54, model: "m"), at: self.at(54))
                == [.ready, .status("ready: http://127.0.0.1:8000")]
        )
        #expect(self.status.beat(at: self.at(60)).isEmpty)
    }

    @Test mutating func `more time is asked for within the startup timeout, and no longer`() {
        _ = self.status.happened(.started(replica: "worker", pid: 1), at: self.at(0))
        #expect(self.status.beat(at: self.at(100)).contains(.extendTimeout(.seconds(60))))
        #expect(!self.status.beat(at: self.at(116)).contains(.extendTimeout(.seconds(60))))
    }

    @Test mutating func `each restart that the policy has gives time anew, those beyond it do not`() {
        for run in 0..<3 {
            _ = self.status.happened(.started(replica: "worker", pid: 1), at: self.at(run * 1000))
            #expect(self.status.beat(at: self.at(run * 1000 + 99)).contains(.extendTimeout(.seconds(60))))
        }
        _ = self.status.happened(.started(replica: "worker", pid: 1), at: self.at(5000))
        #expect(!self.status.beat(at: self.at(5001)).contains(.extendTimeout(.seconds(60))))
    }

    @Test mutating func `a manifest without a startup timeout is waited for as long as it takes`() {
        self.status = Self.status(Self.plan(timeout: nil))
        _ = self.status.happened(.started(replica: "worker", pid: 1), at: self.at(0))
        #expect(self.status.beat(at: self.at(100_000)).contains(.extendTimeout(.seconds(60))))
    }

    @Test mutating func `the comparison with discovery has its own limit`() {
        for name in ["worker", "frontend"] {
            _ = self.status.happened(.started(replica: name, pid: 1), at: self.at(0))
            _ = self.status.happened(.replicaState(replica: name, state: .ready, detail: nil), at: self.at(0))
        }
        #expect(self.status.beat(at: self.at(44)).contains(.extendTimeout(.seconds(60))))
        #expect(!self.status.beat(at: self.at(46)).contains(.extendTimeout(.seconds(60))))
    }

    @Test mutating func `each beat is a sign of life when there is a watchdog`() {
        self.status = Self.status(watchdog: true)
        _ = self.status.happened(.ready(seconds: 1, model: nil), at: self.at(0))
        #expect(self.status.beat(at: self.at(1)) == [.watchdog])
    }

    @Test mutating func `a deployment that lost a process says so and comes back, without READY again`() {
        _ = self.status.happened(.ready(seconds: 1, model: nil), at: self.at(0))
        #expect(
            self.status.happened(.degraded(missing: ["worker"]), at: self.at(1))
                == [.status("degraded: worker not ready")]
        )
        #expect(self.status.happened(.recovered, at: self.at(2)) == [.status("ready: http://127.0.0.1:8000")])
    }

    @Test mutating func `stopping asks for the graces of the levels, one after another`() {
        // Two levels with 20 s each and 5 s for killing, and 15 s besides.
        #expect(
            self.status.happened(.stopping(now: false), at: self.at(0))
                == [.stopping, .status("stopping"), .extendTimeout(.seconds(65))]
        )
        #expect(self.status.happened(.stopping(now: true), at: self.at(1)).isEmpty)
        #expect(self.status.ended(SupervisorOutcome(exitCode: 0, reason: .requested)) == [.status("stopped")])
    }

    @Test mutating func `the reason of a failure stays to the end`() {
        #expect(self.status.happened(.failed("worker: no model"), at: self.at(0)) == [.status("worker: no model")])
        #expect(
            self.status.happened(.stopping(now: false), at: self.at(0)) == [.stopping, .extendTimeout(.seconds(65))]
        )
        #expect(self.status.happened(.exited(replica: "worker", exit: "1", lastLines: []), at: self.at(1)).isEmpty)
        let outcome = SupervisorOutcome(exitCode: 3, reason: .failed, failure: .init(message: "worker: no model"))
        #expect(self.status.ended(outcome) == [.status("worker: no model"), .exitStatus(3)])
    }
}
