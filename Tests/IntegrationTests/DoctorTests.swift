import Foundation
import TestSupport
import Testing

/// `doctor` on real processes, with a launcher and without.
@Suite(.serialized) struct DoctorTests {
    private struct Report: Decodable {
        struct Finding: Decodable {
            var kind: String
            var severity: String
            var evidence: [String]
        }
        struct Case: Decodable { var findings: [Finding] }
        var cases: [Case]
        var errors: Int

        var kinds: [String] { self.cases.flatMap(\.findings).map { "\($0.severity) \($0.kind)" } }
    }

    @Test func `a deployment in good health has no findings`() async throws {
        _ = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            let (output, exit) = try await deployment.command("doctor", "embedded")
            #expect(exit == .code(0), "\(output)")
            #expect(
                output.hasPrefix("deployment embedded: frontend (pid ") && output.contains(", worker (pid "),
                "\(output)"
            )
            #expect(output.hasSuffix("\nnothing is wrong\n"))
            // What a person has asked for is no trouble.
            let restarted = try await deployment.command("restart", "worker")
            #expect(restarted.exit == .code(0), "\(restarted.output)")
            let again = try await deployment.command("doctor", "embedded")
            #expect(again.exit == .code(0) && again.output.hasSuffix("\nnothing is wrong\n"), "\(again.output)")
            let unknown = try await deployment.command("doctor", "embeded")
            #expect(unknown.exit == .code(1) && unknown.output.contains("did you mean 'embedded'?"))
        }
    }

    @Test func `a deployment whose launcher is gone is examined, and that is a finding`() async throws {
        try await withTemporaryDirectory { directory in
            let manifest =
                "name: lone\nsurvive: true\nprocesses:\n  frontend: {builtin: frontend}\n  worker: {builtin: worker}\n"
            let deployment = try KilledDeployment("lone", in: directory, manifest: manifest)
            let result: Result<Void, any Error>
            do {
                try await deployment.up { program in
                    try await program.waitForOutput("ready in ")
                    program.send(SIGKILL)
                    try await program.waitForExit()
                }
                for arguments in [["doctor", "lone"], ["doctor"]] {
                    let (output, exit) = try await Launcher.run(arguments, environment: deployment.environment)
                    #expect(exit == .code(1), "\(output)")
                    let begin = "deployment lone: frontend (pid "
                    #expect(output.contains(begin) && output.contains(", worker (pid "), "\(output)")
                    #expect(output.contains("warning: the launcher of lone is gone: "), "\(output)")
                    #expect(output.contains(" [launcher-gone]\n  evidence: its launcher ended at 2"), "\(output)")
                    #expect(
                        output.contains("\n  evidence: 2 processes go on\n  remedy: adopt them with: "),
                        "\(output)"
                    )
                }
                let json = try await Launcher.run(["doctor", "lone", "--json"], environment: deployment.environment)
                let report = try JSONDecoder().decode(Report.self, from: Data(json.output.utf8))
                #expect(report.kinds == ["warning launcher-gone"], "\(json.output)")
                result = .success(())
            } catch { result = .failure(error) }
            _ = try await deployment.command("stop", "lone")
            try await deployment.waitUntilGone()
            try result.get()
            let gone = try await deployment.command("doctor", "lone")
            #expect(gone.exit == .code(1) && gone.output.contains("no deployment 'lone' runs"), "\(gone.output)")
        }
    }

    @Test func `a worker on another plane and the record that it leaves are explained`() async throws {
        try await withTemporaryDirectory { directory in
            let shared: [String: String?] = [
                "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": directory.path(), "DYN_NAMESPACE": nil,
                "DYN_REQUEST_PLANE": "tcp", "NATS_SERVER": nil, "DYN_SYSTEM_PORT": nil, "DYN_TCP_RPC_HOST": nil,
            ]
            func doctor(_ pids: Int32...) async throws -> (report: Report, text: String) {
                let flags = pids.flatMap { ["--pid", "\($0)"] }
                let text = try await Launcher.run(["doctor"] + flags)
                let json = try await Launcher.run(["doctor", "--json"] + flags)
                #expect(text.exit == .code(1) && json.exit == .code(1), "\(text.output)")
                return (try JSONDecoder().decode(Report.self, from: Data(json.output.utf8)), text.output)
            }
            func program(_ name: String) -> String { TestEnvironment.products.appending(path: name).path() }
            let port = try freePort()
            _ = try await withProgram(
                program("dynamo-frontend"),
                ["--http-port", "\(port)"],
                environment: shared
            ) { frontend in
                try await eventually("the frontend listens") { SystemProcesses.isListening(port: port) }
                _ = try await withProgram(
                    program("dynamo-worker"),
                    environment: shared.merging(["DYN_REQUEST_PLANE": "http"]) { $1 }
                ) { worker in
                    let records = directory.appending(path: "v1/instances").path()
                    try await eventually("the worker registers") {
                        ((try? FileManager.default.contentsOfDirectory(atPath: records)) ?? []).isEmpty == false
                    }
                    let (report, text) = try await doctor(frontend.pid, worker.pid)
                    #expect(report.kinds == ["warning request-planes-differ"], "\(text)")
                    #expect(
                        text.contains("  evidence: worker (pid \(worker.pid)): http (DYN_REQUEST_PLANE)\n"),
                        "\(text)"
                    )
                    #expect(text.contains("  remedy: ") && text.hasSuffix("\n0 errors, 1 warning, 0 notes\n"))
                    // Nobody of these two sees the other.
                    let apart = try await withProgram(
                        program("dynamo-frontend"),
                        ["--http-port", "\(try freePort())", "--namespace", "elsewhere"],
                        environment: shared
                    ) { try await doctor($0.pid, worker.pid) }.value
                    #expect(apart.report.kinds.contains("error frontend-without-workers"), "\(apart.text)")
                    #expect(apart.text.contains("namespace elsewhere (--namespace)\n"), "\(apart.text)")
                    worker.send(SIGKILL)
                    try await worker.waitForExit()
                    // Within the 10 s that its records live.
                    let after = try await doctor(frontend.pid)
                    #expect(after.report.kinds == ["error stale-record"], "\(after.text)")
                    #expect(after.text.contains(": http at http://") && after.text.contains(", where nobody listens\n"))
                }
            }
            let gone = try await Launcher.run(["doctor", "--pid", "1"])
            #expect(gone.exit == .code(1) && gone.output.contains("pid 1 is no Dynamo process of this user"))
        }
    }
}
