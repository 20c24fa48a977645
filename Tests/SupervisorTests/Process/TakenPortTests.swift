import Deployment
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Supervisor

/// Leased ports that somebody takes before the program does.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct TakenPortTests {
    /// A program that binds its port and serves, or says as Python does that it cannot.
    private static func server(_ folder: ScratchFolder, port: Int, leased: Bool = true, rank: Int = 0) -> ReplicaPlan {
        let code =
            "import socket,os,time; s=socket.socket(); s.bind(('127.0.0.1',int(os.environ['PORT']))); s.listen(); print('serving',flush=True); time.sleep(1000)"
        return .shell(
            "worker",
            // Nobody binds it before the test lets it.
            "while [ ! -e \(folder.path)/go ]; do sleep 0.02; done; exec python3 -c \"\(code)\"",
            environment: [EnvironmentVariable(name: "PORT", value: "\(port + rank)", source: .derived)],
            ports: [PortPlan(name: "system", port: port, leased: leased, block: rank + 1)],
            readiness: [
                LayerProbe(layer: .alive, probe: .process),
                LayerProbe(layer: .port, probe: .logLine(pattern: "^serving$")),
            ],
            restart: RestartPolicy(initialDelay: 30, maximumDelay: 60)
        )
    }

    private static func squatter(_ port: Int) async throws -> Stranger {
        let code = "import socket,time; s=socket.socket(); s.bind(('127.0.0.1',\(port))); s.listen(); time.sleep(1000)"
        let stranger = try Stranger(["/usr/bin/python3", "-c", code])
        try await eventually(within: .seconds(30), "listening") { PortListeners().isTaken(port) }
        return stranger
    }

    /// Gives out other ports, as the launcher does.
    private final class Renewals: Sendable {
        let asked: Mutex<[PortRenewal]> = Mutex([])
        let leases = PortLeases(holder: "test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))")
    }

    private static func renew(_ folder: ScratchFolder, _ renewals: Renewals) -> Supervisor.RenewPorts {
        { ports throws(ReplanFailure) in
            let count = renewals.asked.withLock { asked in
                asked += ports
                return asked.count
            }
            do {
                let port = try renewals.leases.lease(PortLeases.Request(name: "renewed-\(count)"))
                return Plan.test(folder, [Self.server(folder, port: port)])
            } catch { throw ReplanFailure(description: "\(error)") }
        }
    }

    private static func told(_ running: RunningSupervisor) -> [String] {
        running.notices.withLock { notices in
            notices.compactMap { if case .portsRenewed("worker", let text) = $0 { text } else { nil } }
        }
    }

    /// Also one of the ports after it, where it is the first of some in a row.
    @Test(arguments: [0, 2]) func `a program that exits because of it is started at once with another port`(
        rank: Int
    ) async throws {
        let folder = ScratchFolder()
        let renewals = Renewals()
        let port = try renewals.leases.lease(PortLeases.Request(name: "first", count: rank + 1))
        let plan = Plan.test(folder, [Self.server(folder, port: port, rank: rank)])
        try await RunningSupervisor.run(plan, renewPorts: Self.renew(folder, renewals)) { running in
            try await eventually("started") { !running.pids(of: "worker").isEmpty }
            let stranger = try await Self.squatter(port + rank)
            try Data().write(to: URL(filePath: "\(folder.path)/go"))
            // Its restart delay is half a minute: this is no restart.
            try await running.becomesReady()
            #expect(running.isReady)
            let active = running.supervisor.activePlan.replicas.first
            let renewed = try #require(active?.ports.first?.port)
            #expect(renewed != port)
            let told = Self.told(running)
            #expect(told.count == 1)
            #expect(
                told.first?.hasPrefix(
                    "port \(port + rank) (system) is taken by pid \(stranger.pid) (/usr/bin/python3 -c import socket"
                ) == true,
                "\(told)"
            )
            let words = rank > 0 ? "\(renewed) to \(renewed + rank)" : "\(renewed)"
            #expect(told.first?.hasSuffix("; it gets \(words)") == true)
            #expect(
                renewals.asked.withLock { $0 } == [PortRenewal(process: "worker", index: 0, name: "system", port: port)]
            )
            #expect(running.pids(of: "worker").count == 2)
        }
    }

    /// Also one of the ports after it, where it is the first of some in a row.
    @Test(arguments: [0, 2]) func `one that is taken before the start is not even tried`(rank: Int) async throws {
        let folder = ScratchFolder()
        try Data().write(to: URL(filePath: "\(folder.path)/go"))
        let renewals = Renewals()
        let port = try renewals.leases.lease(PortLeases.Request(name: "first", count: rank + 1))
        let stranger = try await Self.squatter(port + rank)
        let plan = Plan.test(folder, [Self.server(folder, port: port, rank: rank)])
        try await RunningSupervisor.run(plan, renewPorts: Self.renew(folder, renewals)) { running in
            try await running.becomesReady()
            #expect(running.isReady)
            #expect(Self.told(running).count == 1)
            #expect(running.pids(of: "worker").count == 1)
        }
        withExtendedLifetime(stranger) {}
    }

    @Test func `one of the manifest is not changed, and its holder is named`() async throws {
        let folder = ScratchFolder()
        let renewals = Renewals()
        let port = try renewals.leases.lease(PortLeases.Request(name: "first"))
        let plan = Plan.test(folder, [Self.server(folder, port: port, leased: false)])
        try await RunningSupervisor.run(plan, renewPorts: Self.renew(folder, renewals)) { running in
            try await eventually("started") { !running.pids(of: "worker").isEmpty }
            let stranger = try await Self.squatter(port)
            try Data().write(to: URL(filePath: "\(folder.path)/go"))
            try await eventually(within: .seconds(30), "warned") { !running.warnings.isEmpty }
            #expect(
                running.warnings.first?.hasPrefix(
                    "worker: port \(port) (system), which it is given and which is not changed, is taken by pid \(stranger.pid)"
                ) == true,
                "\(running.warnings)"
            )
            #expect(renewals.asked.withLock { $0 }.isEmpty)
        }
    }

    @Test func `it starts again on other ports without a delay, and being ready ends the row`() {
        var driver = Driver(readiness: [alive, live], restart: RestartPolicy(initialDelay: 1, jitter: 0))
        _ = driver.start()
        for run in 1...2 {
            _ = driver.spawned(run)
            _ = driver.exit(.exited(1), run: run)
            var plan = driver.machine.plan
            plan.ports = [PortPlan(name: "system", port: 20000 + run, leased: true)]
            #expect(driver.machine.takePorts(of: plan, run: run, reason: "taken", at: driver.now) == [])
            #expect(driver.cleared(run) == [.portsRenewed("taken"), .planTaken, .stateChanged(nil), .backoffOver])
            #expect(driver.machine.plan == plan)
            #expect(driver.machine.state == .waiting)
            #expect(driver.machine.renewals == run)
            _ = driver.start()
        }
        _ = driver.spawned(3)
        #expect(driver.machine.renewals == 2)
        _ = driver.probe(.success, run: 3)
        #expect(driver.shown == .ready)
        #expect(driver.machine.renewals == 0)
    }

    @Test func `what is told to end before it was started ends as soon as its ports are known`() {
        var driver = Driver()
        _ = driver.start()
        _ = driver.machine.stop(at: driver.now)
        let actions = driver.machine.takePorts(of: driver.machine.plan, run: 1, reason: "taken", at: driver.now)
        #expect(actions.contains { if case .clear(run: 1, _) = $0 { true } else { false } }, "\(actions)")
        _ = driver.cleared()
        #expect(driver.machine.state == .stopped)
    }

    @Test func `what is being stopped gets no ports`() {
        var driver = Driver()
        _ = driver.start()
        _ = driver.spawned()
        _ = driver.exit(.exited(1))
        _ = driver.machine.stop(at: driver.now)
        #expect(driver.machine.takePorts(of: driver.machine.plan, run: 1, reason: "taken", at: driver.now) == [])
        _ = driver.cleared()
        #expect(driver.machine.state == .stopped)
    }
}
