import Foundation
import TestSupport
import Testing

/// `kv` beside a running deployment.
@Suite("The KV event plane shown", .serialized, .timeLimit(.minutes(2)))
struct KVCommandTests {
    /// Two mock engines behind a real frontend.
    static let ours = """
        name: seen
        planes: {request: tcp, events: nats-core}
        infrastructure: {nats: managed}
        processes:
          frontend: {module: dynamo.frontend, args: [--router-mode, kv]}
          worker: {builtin: worker, replicas: 2, args: [--engine, mock, --num-blocks, 64, --speedup, 10]}
        """

    private func withDeployment(
        _ manifest: String,
        _ body: (LaunchedDeployment) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let file = directory.appending(path: "seen.yaml")
            try manifest.write(to: file, atomically: true, encoding: .utf8)
            let environment = try RealDynamoTests.environment(.v121)
            let (_, exit) = try await Launcher.up([file.path()], environment: environment) { deployment in
                try await deployment.waitUntilReady()
                try await body(deployment)
            }
            #expect(exit == .code(0))
        }
    }

    private func ask(_ deployment: LaunchedDeployment, _ word: String) async throws {
        let model = try await Chat.firstModel(deployment.url)
        let prompt = String(repeating: "\(word) ", count: 60)
        let body = try Chat.body(model: model, prompt: prompt, tokens: 2)
        let reply = try await HTTPRequests.post("\(deployment.url)/v1/chat/completions", json: body)
        #expect(reply.status == 200, "\(reply.text)")
    }

    private func blocks(_ json: String) throws -> (total: Int, ranks: [[String: Any]]) {
        let object = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
        let index = object?["index"] as? [String: Any]
        return (index?["blocks"] as? Int ?? -1, object?["ranks"] as? [[String: Any]] ?? [])
    }

    @Test func `blocks that workers hold are seen by a command that starts late, and by one that goes on`() async throws
    {
        try await self.withDeployment(Self.ours) { deployment in
            try await self.ask(deployment, "alpha")
            let (json, exit) = try await deployment.command("kv", "--json", "--interval", "0.2")
            #expect(exit == .code(0), "\(json)")
            let (before, ranks) = try self.blocks(json)
            #expect(before > 10, "\(json)")
            #expect(Set(ranks.compactMap { $0["process"] as? String }) == ["worker-0", "worker-1"], "\(json)")

            let table = try await deployment.command("kv", "--interval", "0.2")
            #expect(table.output.contains("2 workers, 2 ranks, caught up"), "\(table.output)")

            let (_, ended) = try await withProgram(
                Launcher.path,
                ["kv", "--follow", "--json", "--interval", "0.2"],
                environment: deployment.environment
            ) { program in
                try await program.waitForOutput("}\n")
                try await self.ask(deployment, "beta")
                try await eventually("the new blocks are seen") {
                    let lines = program.output.split(separator: "\n", omittingEmptySubsequences: true)
                    return try lines.dropLast().contains { try self.blocks(String($0)).total > before + 10 }
                }
                program.send(SIGINT)
                try await program.waitForExit(within: .seconds(5))
            }
            #expect(ended == .code(0))
        }
    }

    @Test func `a closed pipe ends it, and a deployment without events is refused with the reason`() async throws {
        try await self.withDeployment(Self.ours) { deployment in
            let script = "\"$0\" kv --follow --json --interval 0.2 | head -n 1 | cut -c 1-12; echo \"${PIPESTATUS[0]}\""
            let (output, exit) = try await withProgram(
                "/bin/bash",
                ["-c", script, Launcher.path],
                environment: deployment.environment
            ) { program in
                try await program.waitForExit(within: .seconds(15))
                return program.output
            }
            #expect(exit == .code(0))
            #expect(output == "{\"deployment\n0\n")
        }
        let (_, exit) = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            let (output, refused) = try await deployment.command("kv")
            #expect(refused == .code(1))
            #expect(output.contains("error: deployment embedded: "), "\(output)")
        }
        #expect(exit == .code(0))
    }

    @Test(
        "mock engines of Dynamo are followed on the event plane of their release",
        arguments: [
            TestEnvironment.DynamoPeer.v121, .v161,
        ]
    )
    func real(_ peer: TestEnvironment.DynamoPeer) async throws {
        let manifest = TestEnvironment.root.appending(path: "launch/mocker/agg_router.yaml").path()
        let environment = try RealDynamoTests.environment(peer)
        let (_, exit) = try await Launcher.up([manifest], environment: environment) { deployment in
            try await deployment.waitUntilReady()
            try await self.ask(deployment, "gamma")
            try await eventually("the blocks of the prompt are seen") {
                let (json, exit) = try await deployment.command("kv", "--json", "--interval", "0.2")
                #expect(exit == .code(0), "\(json)")
                let (blocks, ranks) = try self.blocks(json)
                #expect(ranks.count == 2, "\(json)")
                return blocks > 10
            }
        }
        #expect(exit == .code(0))
    }
}
