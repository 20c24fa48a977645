import Deployment
import Foundation
import Glibc
import Supervisor
import Synchronization
import TestSupport
import Testing

/// Deployments that cannot come up, and what is said about it.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct FailureTests {
    @Test func aProgramThatDoesNotExistIsNotTriedAgain() async throws {
        let folder = ScratchFolder()
        var replica = ReplicaPlan.shell("worker", "")
        replica.executable = "/nowhere/python3"
        let outcome = try await RunningSupervisor.run(Plan.test(folder, [replica])) { try await $0.ends() }
        #expect(outcome.exitCode == 1)
        #expect(
            outcome.failure?.message
                == "worker: cannot execute /nowhere/python3: No such file or directory; log: \(folder.path)/state/logs/worker.log"
        )
    }

    @Test func aWorkingDirectoryThatDoesNotExistIsNamed() async throws {
        let folder = ScratchFolder()
        var replica = ReplicaPlan.shell("worker", "")
        replica.workingDirectory = "/nowhere"
        let outcome = try await RunningSupervisor.run(Plan.test(folder, [replica])) { try await $0.ends() }
        #expect(
            outcome.failure?.message.hasPrefix(
                "worker: cannot enter the working directory /nowhere: No such file or directory"
            ) == true
        )
    }

    @Test func takenPortNamesItsHolderAndStartsNothing() async throws {
        let folder = ScratchFolder()
        let port = 20_000 + Int.random(in: 0..<10_000)
        let code = "import socket,time; s=socket.socket(); s.bind(('127.0.0.1',\(port))); s.listen(); time.sleep(1000)"
        let stranger = try Stranger(["/usr/bin/python3", "-c", code])
        try await eventually("listening") { PortListeners().isTaken(port) }
        let plan = Plan.test(
            folder,
            [
                .shell("nats", "exec sleep 1000", role: .infrastructure),
                .shell(
                    "worker",
                    "exec sleep 1000",
                    ports: [PortPlan(name: "system", port: port, leased: false)],
                    dependencies: [Dependency(process: "nats", layer: .alive)]
                ),
            ]
        )
        try await RunningSupervisor.run(plan) { running in
            try await running.ends()
            let outcome = running.result.withLock { $0 }
            let message = try #require(outcome?.failure?.message)
            #expect(
                message.hasPrefix(
                    "worker: port \(port) (system) is already in use by pid \(stranger.pid) (/usr/bin/python3 -c import socket"
                )
            )
            #expect(running.pids(of: "nats").isEmpty)
        }
    }

    @Test func firstExitEndsAllWithItsCode() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(
            folder,
            [.shell("frontend", "exec sleep 1000", role: .frontend), .shell("worker", "sleep 0.2; exit 7")]
        )
        try await RunningSupervisor.run(plan, options: SupervisorOptions(exitOnFirst: true)) { running in
            try await running.ends()
            let outcome = running.result.withLock { $0 }
            #expect(outcome?.exitCode == 7)
            #expect(outcome?.reason == .firstExit)
            #expect(running.notices.withLock { $0.contains(.firstExit(replica: "worker", code: 7)) })
            #expect(!isRunning(running.pids(of: "frontend")[0]))
        }
    }

    @Test func mismatchInDiscoveryFailsTheDeployment() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(folder, [.shell("worker", "exec sleep 1000")])
        let outcome = try await RunningSupervisor.run(
            plan,
            verification: { _ in ["worker registered on nats, the manifest says tcp"] },
            body: { try await $0.ends() }
        )
        #expect(outcome.exitCode == 1)
        #expect(outcome.failure?.message == "worker registered on nats, the manifest says tcp")
    }

    @Test func infrastructureThatHasDoneItsWorkDoesNotEndTheRest() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(
            folder,
            [
                .shell("setup", "exit 0", role: .infrastructure),
                .shell("worker", "exec sleep 1000", dependencies: [Dependency(process: "setup", layer: .alive)]),
            ]
        )
        let outcome = try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            #expect(!running.isEnded)
        }
        #expect(outcome.exitCode == 0)
    }

    @Test func aDeploymentWhoseProcessesAllFinishHasFinished() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(folder, [.shell("job", "exit 0", role: .infrastructure)])
        let outcome = try await RunningSupervisor.run(plan) { try await $0.ends() }
        #expect(outcome == SupervisorOutcome(exitCode: 0, reason: .completed))
    }

    @Test func argumentsAndEnvironmentMayBeLarge() async throws {
        let folder = ScratchFolder()
        let value = String(repeating: "x", count: 120_000)
        var replica = ReplicaPlan.shell(
            "worker",
            "echo ${#BIG} ${#1} \"$2\"; exec sleep 1000",
            environment: [
                EnvironmentVariable(name: "BIG", value: value, source: .manifest)
            ]
        )
        replica.arguments += ["sh", value, "two words\nand a line"]
        try await RunningSupervisor.run(Plan.test(folder, [replica])) { running in
            try await eventually("has written") {
                running.text(of: "worker") == ["120000 120000 two words", "and a line"]
            }
        }
    }

    @Test func nothingIsInheritedButTheThreeDescriptors() async throws {
        let folder = ScratchFolder()
        let leak = open("/dev/null", O_RDONLY)
        defer { close(leak) }
        let script =
            "ls -l /proc/self/fd | awk '{print $9, $11}'; echo env $(env | cut -d= -f1 | sort | tr '\\n' ' '); sleep 1000"
        try await RunningSupervisor.run(Plan.test(folder, [.shell("worker", script)])) { running in
            try await eventually("has written") { running.text(of: "worker").contains { $0.hasPrefix("env") } }
            let lines = running.text(of: "worker")
            let descriptors = lines.dropLast().filter { !$0.trimmingCharacters(in: .whitespaces).isEmpty }
            #expect(descriptors.count == 4, "0, 1, 2 and the folder that ls reads: \(descriptors)")
            #expect(descriptors.first == "0 /dev/null")
            #expect(
                lines.last == "env DYNAMO_LAUNCH_REPLICA OLDPWD PATH PWD"
                    || lines.last == "env DYNAMO_LAUNCH_REPLICA PATH PWD"
            )
        }
    }

    @Test func twoLaunchersOfOneDeploymentAreRefused() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(folder, [.shell("worker", "exec sleep 1000")])
        try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            let second = try await RunningSupervisor.run(plan) { try await $0.ends() }
            #expect(second.exitCode == 1)
            let expected = "deployment '\(plan.deployment)' is already running (launcher pid \(getpid()))"
            #expect(second.failure?.message.hasPrefix(expected) == true)
            #expect(!running.isEnded)
        }
    }
}
