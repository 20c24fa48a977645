import Deployment
import Foundation
import Glibc
import Supervisor
import Synchronization
import TestSupport
import Testing

/// Real processes under a whole supervisor.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct SupervisedProcessTests {
    @Test func startsInOrderAndStopsInReverse() async throws {
        let folder = ScratchFolder()
        let order = "\(folder.path)/order"
        let script = { (name: String) in
            "trap 'echo stop \(name) >> \(order); exit 0' TERM; echo start \(name) >> \(order); echo hello from \(name); "
                + "while :; do sleep 0.05; done"
        }
        let plan = Plan.test(
            folder,
            [
                .shell("nats", script("nats"), role: .infrastructure),
                .shell("worker", script("worker"), dependencies: [Dependency(process: "nats", layer: .alive)]),
                .shell("frontend", script("frontend"), dependencies: [Dependency(process: "worker", layer: .alive)]),
            ]
        )
        let outcome = try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            try await eventually("all have spoken") { running.lines.withLock { $0.count } == 3 }
        }
        #expect(outcome == SupervisorOutcome(exitCode: 0, reason: .requested))
        let lines = try String(contentsOfFile: order, encoding: .utf8).split(separator: "\n").map(String.init)
        #expect(Array(lines.suffix(3)) == ["stop frontend", "stop worker", "stop nats"])
        let log = try String(contentsOfFile: "\(folder.path)/state/logs/worker.log", encoding: .utf8)
        #expect(log.hasSuffix(" stdout F hello from worker\n"))
    }
}
