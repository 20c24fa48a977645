import Deployment
import Foundation
import Glibc
import Supervisor
import Synchronization
import TestSupport
import Testing

/// Probes of real processes, from the start to the steady state.
@Suite(.serialized, .timeLimit(.minutes(1)))
struct SteadyProbeTests {
    @Test func aServerThatHangsIsRestartedAndServesAgain() async throws {
        let folder = ScratchFolder()
        let port = 20_000 + Int.random(in: 0..<10_000)
        let code = """
            import http.server, os
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    if os.path.exists('\(folder.path)/sick'): os.unlink('\(folder.path)/sick'); import time; time.sleep(1000)
                    self.send_response(200); self.end_headers()
                def log_message(self, *_): pass
            http.server.HTTPServer(('127.0.0.1', \(port)), Handler).serve_forever()
            """
        var replica = ReplicaPlan.shell(
            "worker",
            "",
            ports: [PortPlan(name: "http", port: port, leased: false)],
            readiness: [
                LayerProbe(layer: .alive, probe: .process),
                LayerProbe(layer: .port, probe: .tcp(host: "127.0.0.1", port: port)),
                LayerProbe(
                    layer: .live,
                    probe: .http(url: "http://127.0.0.1:\(port)/live", statuses: [], bodyContains: nil)
                ),
            ],
            timing: ProbeTiming(steadyInterval: 0.05, probeTimeout: 0.2, failureThreshold: 2)
        )
        replica.executable = "/usr/bin/python3"
        replica.arguments = ["-c", code]
        try await RunningSupervisor.run(Plan.test(folder, [replica])) { running in
            try await running.becomesReady()
            try Data().write(to: URL(fileURLWithPath: "\(folder.path)/sick"))
            try await eventually("ready again") { running.notices.withLock { $0.contains(.recovered) } }
            let reasons = running.notices.withLock { notices in
                notices.compactMap { if case .restarting(_, let reason, _, _, _) = $0 { reason } else { nil } }
            }
            #expect(reasons == ["probe live failed 2 times in a row: no answer within 0.2 s"])
            #expect(running.pids(of: "worker").count == 2)
        }
    }

    @Test func aProgramAsProbeIsRunInTheReplicasEnvironmentAndEndedInTime() async throws {
        let folder = ScratchFolder()
        var slow = ReplicaPlan.shell(
            "slow",
            "exec sleep 1000",
            readiness: [LayerProbe(layer: .health, probe: .exec(argv: ["sleep", "555"]))],
            timing: ProbeTiming(startupTimeout: 1, probeTimeout: 0.2),
            restart: RestartPolicy(condition: .never)
        )
        slow.workingDirectory = folder.path
        let quick = ReplicaPlan.shell(
            "quick",
            "exec sleep 1000",
            environment: [EnvironmentVariable(name: "ANSWER", value: "42", source: .manifest)],
            readiness: [
                LayerProbe(
                    layer: .health,
                    probe: .exec(argv: ["/bin/sh", "-c", "test $ANSWER = 42 && test $PWD = /tmp"])
                )
            ]
        )
        try await RunningSupervisor.run(Plan.test(folder, [slow, quick])) { running in
            try await running.ends()
            let outcome = running.result.withLock { $0 }
            let expected = "slow: layer health not reached within 1 s: did not end within 0.2 s"
            #expect(outcome?.failure?.message.hasPrefix(expected) == true)
            let quickWasReady = running.notices.withLock {
                $0.contains { if case .layerReached("quick", .health, _) = $0 { true } else { false } }
            }
            #expect(quickWasReady)
        }
    }

    @Test func whatAProbeThatTimedOutHasStartedIsEndedWhileTheReplicaRuns() async throws {
        let folder = ScratchFolder()
        let note = "echo $$ >> \(folder.path)/pids; exec sleep 1000"
        let worker = ReplicaPlan.shell(
            "worker",
            "exec sleep 1000",
            readiness: [
                LayerProbe(
                    layer: .health,
                    probe: .exec(argv: ["/bin/sh", "-c", "sh -c '\(note)' | cat & setsid sh -c '\(note)' & wait"])
                )
            ],
            timing: ProbeTiming(startupTimeout: 60, probeTimeout: 0.5)
        )
        try await RunningSupervisor.run(Plan.test(folder, [worker])) { running in
            let pids = { () -> [Int32] in
                ((try? String(contentsOfFile: "\(folder.path)/pids", encoding: .utf8)) ?? "").split(separator: "\n")
                    .compactMap { Int32($0) }
            }
            try await eventually("asked a second time") { pids().count >= 3 }
            let first = pids().prefix(2)
            try await eventually("what the first probe started is gone") { first.allSatisfy { !isRunning($0) } }
            #expect(running.pids(of: "worker").map(isRunning) == [true])
        }
    }

    @Test func aProbeProgramThatDoesNotExistIsNamed() async throws {
        let folder = ScratchFolder()
        let replica = ReplicaPlan.shell(
            "worker",
            "exec sleep 1000",
            readiness: [LayerProbe(layer: .health, probe: .exec(argv: ["no-such-program"]))],
            timing: ProbeTiming(startupTimeout: 3),
            restart: RestartPolicy(condition: .never)
        )
        let outcome = try await RunningSupervisor.run(Plan.test(folder, [replica])) { try await $0.ends() }
        #expect(outcome.failure?.message.contains("no-such-program is not on the PATH of worker") == true)
    }

    @Test func aPlaneProbeThatHangsDoesNotDelayTheEnd() async throws {
        let folder = ScratchFolder()
        let replica = ReplicaPlan.shell(
            "worker",
            "exec sleep 1000",
            readiness: [LayerProbe(layer: .serving, probe: .requestPlane(component: "backend", endpoint: "generate"))]
        )
        let asked = Asked()
        let before = ContinuousClock.now
        let plane: RequestPlaneProbe = { component, endpoint, namespace in
            asked.names.withLock { $0.append("\(namespace).\(component).\(endpoint)") }
            try? await Task.sleep(for: .seconds(100))
            return .success
        }
        try await RunningSupervisor.run(Plan.test(folder, [replica]), requestPlane: plane) { _ in
            try await eventually("asked") { asked.names.withLock { $0 } == ["test.backend.generate"] }
        }
        #expect(ContinuousClock.now - before < .seconds(20))
    }

    private final class Asked: Sendable {
        let names = Mutex<[String]>([])
    }
}
