import Deployment
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Supervisor

/// Processes that do not behave.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct KillTests {
    @Test func killedWorkerIsRestartedAndTheFrontendIsUntouched() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(
            folder,
            [
                .shell("worker", "exec sleep 1000"),
                .shell(
                    "frontend",
                    "exec sleep 1000",
                    role: .frontend,
                    dependencies: [Dependency(process: "worker", layer: .alive)]
                ),
            ]
        )
        try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            let first = try #require(running.pids(of: "worker").first)
            kill(first, SIGKILL)
            try await eventually("restarted") { running.pids(of: "worker").count == 2 }
            try await eventually("ready again") {
                running.notices.withLock { $0.contains(.recovered) && $0.contains(.degraded(missing: ["worker"])) }
            }
            #expect(running.pids(of: "frontend").count == 1)
            let restarting = running.notices.withLock { notices in
                notices.compactMap { if case .restarting(_, let reason, _, 1, 5) = $0 { reason } else { nil } }
            }
            #expect(restarting == ["killed by SIGKILL"])
        }
    }

    @Test func oneThatIgnoresSIGTERMIsKilledAfterItsGrace() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(
            folder,
            [.shell("worker", "trap '' TERM; while :; do sleep 0.1; done", stop: StopPlan(grace: 0.3))]
        )
        let started = Mutex(ContinuousClock.now)
        let outcome = try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            // The trap is set a moment after the start.
            try await eventually("trap set") { Self.ignoresTerminate(running.pids(of: "worker")[0]) }
            started.withLock { $0 = .now }
            running.supervisor.requestStop(now: false)
            try await running.ends()
            #expect(!isRunning(running.pids(of: "worker")[0]))
            #expect(running.warnings == ["worker did not end within 0.3 s of SIGTERM; killing it"])
        }
        let took = ContinuousClock.now - started.withLock { $0 }
        #expect(took > .milliseconds(300) && took < .seconds(5))
        #expect(outcome.exitCode == 0 && outcome.survivors.isEmpty)
    }

    /// A keeper that is suspended kills nobody, as the kernel does not kill what waits for a broken device.
    @Test func oneThatCannotBeKilledIsNamedToWhoeverStopsIt() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(folder, [.shell("worker", "exec sleep 1000")])
        let client = ControlClient(plan.directories)
        let survivors = Mutex<[Survivor]>([])
        let outcome = try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            try await eventually("socket") { (try? await client.status()) != nil }
            let pid = try #require(running.pids(of: "worker").first)
            let keeper = try #require(ProcessTable.entry(of: pid)).parent
            kill(keeper, SIGSTOP)
            defer { kill(keeper, SIGCONT) }
            let status = try await client.stop(now: true)
            survivors.withLock { $0 = status.survivors }
            #expect(status.replicas.map(\.pid) == [pid])
            #expect(status.survivors.map(\.description) == ["worker (pid \(pid): /bin/sh -c 'exec sleep 1000')"])
        }
        #expect(outcome.exitCode == 1)
        #expect(outcome.survivors == survivors.withLock { $0 })
    }

    private static func ignoresTerminate(_ pid: Int32) -> Bool {
        let text = ProcessTable.read("/proc/\(pid)/status").map { String(decoding: $0, as: UTF8.self) } ?? ""
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("SigIgn:") }) else { return false }
        return (UInt64(line.dropFirst(7).trimmingCharacters(in: .whitespaces), radix: 16) ?? 0) & (1 << 14) != 0
    }

    @Test(arguments: [false, true])
    func grandchildrenInTheirOwnSessionsAreEnded(byDeath: Bool) async throws {
        let folder = ScratchFolder()
        let pids = "\(folder.path)/pids"
        // One grandchild in a session of its own, one whose environment is empty but which stays in the leader's session.
        let script = """
            setsid sh -c 'echo $$ >> \(pids); exec sleep 1000' &
            env -i sh -c 'echo $$ >> \(pids); exec sleep 1000' &
            while [ $(wc -l < \(pids)) -lt 2 ]; do sleep 0.02; done
            echo up
            \(byDeath ? "sleep 0.1; kill -9 $$" : "sleep 1000")
            """
        let restart = RestartPolicy(condition: byDeath ? .never : .onFailure)
        let ready = [LayerProbe(layer: .alive, probe: .logLine(pattern: "^up$"))]
        let plan = Plan.test(folder, [.shell("worker", "touch \(pids); \(script)", readiness: ready, restart: restart)])
        let outcome = try await RunningSupervisor.run(plan) { running in
            if byDeath { try await running.ends() } else { try await running.becomesReady() }
        }
        #expect(outcome.exitCode == (byDeath ? 1 : 0))
        let found = try String(contentsOfFile: pids, encoding: .utf8).split(separator: "\n").compactMap { Int32($0) }
        #expect(found.count == 2)
        for pid in found { #expect(!isRunning(pid)) }
    }

    @Test func descendantsThatResistAreNamed() async throws {
        let folder = ScratchFolder()
        let script = "setsid sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.1; done' & while :; do sleep 0.1; done"
        let ready = [LayerProbe(layer: .alive, probe: .logLine(pattern: "^up$"))]
        let plan = Plan.test(folder, [.shell("worker", script, readiness: ready)])
        let outcome = try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            running.supervisor.requestStop(now: false)
            try await running.ends()
            let warning = try #require(running.warnings.first)
            #expect(warning.hasPrefix("worker left processes behind that ignored SIGTERM and were killed: sh -c trap"))
        }
        #expect(outcome.exitCode == 0 && outcome.survivors.isEmpty)
    }

    @Test func restartEndsWhatTheLastRunLeftBehind() async throws {
        let folder = ScratchFolder()
        let pids = "\(folder.path)/pids"
        let script = "setsid sh -c 'echo $$ >> \(pids); exec sleep 1000' & sleep 0.2; exit 3"
        let plan = Plan.test(
            folder,
            [
                .shell(
                    "worker",
                    script,
                    restart: RestartPolicy(initialDelay: 0.01, maximumDelay: 0.01, maximumRestarts: 2)
                )
            ]
        )
        let outcome = try await RunningSupervisor.run(plan) { try await $0.ends() }
        #expect(outcome.exitCode == 1)
        let log = "\(folder.path)/state/logs/worker.log"
        #expect(
            outcome.failure?.message
                == "worker: given up after 2 restarts in a row; last: exit code 3; log: \(log)"
        )
        let found = try String(contentsOfFile: pids, encoding: .utf8).split(separator: "\n").compactMap { Int32($0) }
        #expect(found.count == 3)
        for pid in found { #expect(!isRunning(pid)) }
    }

    @Test func secondStopKillsAtOnce() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(
            folder,
            [.shell("worker", "trap '' TERM; echo up; while :; do sleep 0.1; done", stop: StopPlan(grace: 60))]
        )
        try await RunningSupervisor.run(plan) { running in
            try await eventually("up") { running.text(of: "worker") == ["up"] }
            running.supervisor.requestStop(now: false)
            try await eventually("stopping") { running.notices.withLock { $0.contains(.stopping(now: false)) } }
            let before = ContinuousClock.now
            running.supervisor.requestStop(now: true)
            try await running.ends()
            #expect(ContinuousClock.now - before < .seconds(10))
        }
    }

    @Test func deathOfTheKeeperEndsEverything() async throws {
        let folder = ScratchFolder()
        let pids = "\(folder.path)/pids"
        let script = "setsid sh -c 'echo $$ > \(pids); echo up; exec sleep 1000' & exec sleep 1000"
        let ready = [LayerProbe(layer: .alive, probe: .logLine(pattern: "^up$"))]
        let plan = Plan.test(folder, [.shell("worker", script, readiness: ready)])
        let outcome = try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            let leader = running.pids(of: "worker")[0]
            let keeper = try #require(ProcessTable.entry(of: leader)).parent
            #expect(ProcessTable.command(of: keeper) == "dynamo-keeper")
            kill(keeper, SIGKILL)
            try await running.ends()
            #expect(!isRunning(leader))
        }
        #expect(outcome.exitCode == 1)
        #expect(outcome.failure?.message.contains("the keeper process ended (killed by SIGKILL)") == true)
        let text = try String(contentsOfFile: pids, encoding: .utf8)
        let grandchild = try #require(Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(!isRunning(grandchild))
    }
}
