import Deployment
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Supervisor

/// Replicas that say themselves when they are ready, with the real `systemd-notify`.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct NotifyTests {
    private static let layers = [
        LayerProbe(layer: .alive, probe: .process), LayerProbe(layer: .health, probe: .notify),
    ]

    private func plan(_ folder: ScratchFolder, _ script: String, restart: RestartPolicy? = nil) -> Plan {
        let restart = restart ?? RestartPolicy(initialDelay: 0.05, maximumDelay: 0.2)
        return .test(folder, [.shell("worker", script, readiness: Self.layers, restart: restart)])
    }

    @Test func `READY fulfils the layer, and the status is shown before and after`() async throws {
        let folder = ScratchFolder()
        let plan = self.plan(
            folder,
            """
            systemd-notify --status="loading $(printf '\\033')40 %"
            while ! test -e \(folder.path)/go; do sleep 0.02; done
            systemd-notify --ready --status=serving
            exec sleep 1000
            """
        )
        let client = ControlClient(plan.directories)
        try await RunningSupervisor.run(plan) { running in
            try await eventually("the status is there") {
                (try? await client.status())?.replicas[0].waitingFor == "health: loading 40 %"
            }
            #expect(!running.isReady)
            try Data().write(to: URL(filePath: "\(folder.path)/go"))
            try await running.becomesReady()
            let status = try await client.status().replicas[0]
            #expect(status.state == .ready && status.says == "serving" && status.layer == .health)
            #expect(running.notices.withLock { $0.contains(.said(replica: "worker", "loading 40 %")) })
        }
    }

    @Test func `each start has a socket of its own, and none is left`() async throws {
        let folder = ScratchFolder()
        let plan = self.plan(
            folder,
            """
            echo "socket $NOTIFY_SOCKET"; systemd-notify --ready
            test -e \(folder.path)/again && exec sleep 1000
            touch \(folder.path)/again; exit 1
            """
        )
        try await RunningSupervisor.run(plan) { running in
            try await eventually("it was started twice") { running.text(of: "worker").count == 2 }
            try await eventually("the second start is ready") {
                let notices = running.notices.withLock { $0 }
                return notices.count { if case .layerReached(_, .health, _) = $0 { true } else { false } } == 2
            }
            let sockets = running.text(of: "worker").map { String($0.dropFirst("socket ".count)) }
            #expect(Set(sockets).count == 2)
            #expect(access(sockets[0], F_OK) != 0 && access(sockets[1], F_OK) == 0)
        }
        let left = try FileManager.default.contentsOfDirectory(atPath: plan.directories.runtime)
        #expect(left.filter { $0.hasPrefix("notify") } == [])
    }

    @Test func `a descendant in a session of its own counts, a stranger does not and is named`() async throws {
        let folder = ScratchFolder()
        let plan = self.plan(
            folder,
            """
            echo "$NOTIFY_SOCKET" >\(folder.path)/new; mv \(folder.path)/new \(folder.path)/socket
            while ! test -e \(folder.path)/go; do sleep 0.02; done
            setsid sh -c 'sh -c "systemd-notify --ready --status=mine; :"; :' & wait; exec sleep 1000
            """
        )
        try await RunningSupervisor.run(plan) { running in
            let file = "\(folder.path)/socket"
            try await eventually("the socket is known") { access(file, F_OK) == 0 }
            let socket = try String(contentsOfFile: file, encoding: .utf8).trimmed
            _ = try await withProgram(
                "/usr/bin/systemd-notify",
                ["--ready", "--status=not mine"],
                environment: ["NOTIFY_SOCKET": socket]
            ) { try await $0.waitForExit() }
            try await eventually("the stranger is named") { !running.warnings.isEmpty }
            let warning = try #require(running.warnings.first)
            #expect(warning.hasPrefix("worker: what ") && warning.contains("does not count"), "\(warning)")
            #expect(!running.isReady)
            try Data().write(to: URL(filePath: "\(folder.path)/go"))
            try await running.becomesReady()
            let said = running.notices.withLock {
                $0.compactMap { if case .said(_, let text) = $0 { text } else { nil } }
            }
            #expect(said == ["mine"])
        }
    }

    @Test func `who never says READY fails with what it said last`() async throws {
        let folder = ScratchFolder()
        var plan = self.plan(
            folder,
            "systemd-notify --status='waiting for a GPU'; exec sleep 1000",
            restart: RestartPolicy(condition: .never)
        )
        plan.replicas[0].timing.startupTimeout = 1
        let outcome = try await RunningSupervisor.run(plan) { try await $0.ends() }
        let message = try #require(outcome.failure?.message)
        #expect(message.contains("layer health not reached within 1 s: waiting for a GPU"), "\(message)")
    }

    @Test(arguments: [
        ("READY=1\nSTATUS=up", NotifyMessage(isReady: true, status: "up")), ("READY=10\nXREADY=1", NotifyMessage()),
        ("STATUS=a\u{1b}b\u{7f}", NotifyMessage(status: "ab")), ("STATUS=", NotifyMessage(status: "")),
        ("WATCHDOG=1\nMAINPID=1\nFDSTORE=1\n\n", NotifyMessage()), ("", NotifyMessage()),
        ("STATUS=" + String(repeating: "x", count: 500), NotifyMessage(status: String(repeating: "x", count: 200))),
    ])
    func `a message is what it assigns`(text: String, message: NotifyMessage) {
        #expect(NotifyMessage(Array(text.utf8)) == message)
    }

    @Test func `READY before its layer counts, and that of an earlier run does not`() {
        var driver = Driver(readiness: [alive, live, LayerProbe(layer: .health, probe: .notify)])
        _ = driver.start()
        _ = driver.machine.notified(run: 1, NotifyMessage(isReady: true), at: driver.now)
        _ = driver.spawned()
        #expect(driver.shown == .starting)
        #expect(driver.machine.notified(run: 7, NotifyMessage(isReady: true), at: driver.now) == [])
        let actions = driver.probe(.success, index: 1)
        #expect(driver.shown == .ready)
        // Nothing is asked again but what answers questions.
        #expect(!actions.contains(.probe(run: 1, index: 2)))
        #expect(driver.machine.schedule.steady == [1])
    }
}
