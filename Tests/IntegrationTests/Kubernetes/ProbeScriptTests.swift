import Foundation
import TestSupport
import Testing

@testable import Deployment

/// The programs that a kubelet runs where a status does not say enough, against real processes.
@Suite("Probe scripts", .serialized, .timeLimit(.minutes(2)))
struct ProbeScriptTests {
    /// How a script ended, and what it said.
    private func ask(_ script: ProbeScript, _ arguments: String...) async throws -> (isYes: Bool, words: String) {
        let python = try TestEnvironment.python(.v121)
        let (words, exit) = try await withProgram(python, ["-c", script.rawValue] + arguments) { program in
            try await program.waitForExit()
            return program.output
        }
        return (exit == .code(0), words)
    }

    private func withFrontend(_ body: (String, [String: String?]) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            let port = try freePort()
            let environment: [String: String?] = [
                "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": directory.path, "DYN_REQUEST_PLANE": "tcp",
                "DYN_HTTP_HOST": "127.0.0.1", "DYN_HTTP_PORT": "\(port)", "DYN_TCP_RPC_HOST": "127.0.0.1",
            ]
            _ = try await withProgram(
                TestEnvironment.products.appending(path: "dynamo-frontend").path,
                environment: environment
            ) { _ in
                let base = "http://127.0.0.1:\(port)"
                try await eventually("our frontend answers") {
                    (try? await HTTPRequests.get(base + "/live", limit: 1))?.status == 200
                }
                try await body(base, environment)
            }
        }
    }

    @Test func `statuses and texts decide about an answer`() async throws {
        try await self.withFrontend { base, _ in
            #expect(try await self.ask(.http, base + "/live", "200,503", "").isYes)
            #expect(try await self.ask(.http, base + "/live", "", "").isYes)
            #expect(try await self.ask(.http, base + "/nothing", "404", "").isYes)
            let other = try await self.ask(.http, base + "/nothing", "200,503", "")
            #expect(!other.isYes)
            #expect(other.words.contains("/nothing answers 404"))
            #expect(try await self.ask(.http, base + "/health", "200", "healthy").isYes)
            #expect(try await self.ask(.http, base + "/health", "200", "unheard").words.contains("without 'unheard'"))
            #expect(try await !self.ask(.http, "http://127.0.0.1:1/", "200", "").isYes)
        }
    }

    @Test func `a model counts once there is a worker for it`() async throws {
        try await self.withFrontend { base, environment in
            for script in [ProbeScript.modelListed, .modelReady] {
                let early = try await self.ask(script, base, "")
                #expect(!early.isYes)
                #expect(early.words.contains("models listed: none"))
            }
            var environment = environment
            let system = try freePort()
            environment["DYN_SYSTEM_PORT"] = "\(system)"
            environment["DYN_SYSTEM_HOST"] = "127.0.0.1"
            #expect(try await !self.ask(.systemHealth, "http://127.0.0.1:\(system)/health").isYes)
            _ = try await withProgram(
                TestEnvironment.products.appending(path: "dynamo-worker").path,
                ["--engine", "echo", "--model-name", "a/b c"],
                environment: environment
            ) { _ in
                try await eventually("the model is listed") {
                    try await HTTPRequests.get(base + "/v1/models").text.contains("a/b c")
                }
                for script in [ProbeScript.modelListed, .modelReady] {
                    for model in ["", "a/b c"] { #expect(try await self.ask(script, base, model).isYes) }
                    #expect(try await self.ask(script, base, "other").words.contains("models listed: a/b c"))
                }
                #expect(try await self.ask(.systemHealth, "http://127.0.0.1:\(system)/health").isYes)
            }
        }
    }

    @Test func `a pod waits until a server accepts and a name stands for enough addresses`() async throws {
        let python = try TestEnvironment.python(.v121)
        let port = try freePort()
        let targets = ["tcp:127.0.0.1:1,[127.0.0.1]:\(port)", "name:localhost:1"]
        let (_, exit) = try await withProgram(python, ["-c", ProbeScript.wait.rawValue] + targets) { waiting in
            try await waiting.waitForOutput("waiting for [127.0.0.1]:\(port)")
            #expect(waiting.isRunning)
            _ = try await withProgram(python, ["-m", "http.server", "\(port)", "--bind", "127.0.0.1"]) { _ in
                try await waiting.waitForExit()
            }
        }
        #expect(exit == .code(0))
        _ = try await withProgram(python, ["-c", ProbeScript.wait.rawValue, "name:localhost:9"]) { waiting in
            try await waiting.waitForOutput("of 9 are ready")
            #expect(waiting.isRunning)
        }
    }
}
