import Foundation
import TestSupport
import Testing

/// Real Dynamo processes under the launcher, on every plane that their release has.
@Suite(.serialized) struct RealDynamoTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var peer: TestEnvironment.DynamoPeer
        var plane: String
        var testDescription: String { "\(self.peer) on \(self.plane)" }
    }

    static let cases = [
        Case(peer: .v121, plane: "tcp"), Case(peer: .v121, plane: "http"), Case(peer: .v121, plane: "nats"),
        Case(peer: .v161, plane: "tcp"), Case(peer: .v161, plane: "nats"),
    ]

    static let manifest = TestEnvironment.root.appending(path: "launch/mocker.yaml").path()

    static func environment(_ peer: TestEnvironment.DynamoPeer) throws -> [String: String?] {
        let python = try TestEnvironment.python(peer)
        let folder = URL(filePath: python).deletingLastPathComponent().path()
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        return [
            "PATH": "\(folder):\(path)", "MODEL_PATH": try TestEnvironment.model(), "HF_HUB_OFFLINE": "1",
            // Left over in many shells; the launcher must keep it from processes that use no NATS.
            "NATS_SERVER": "nats://127.0.0.1:1",
        ]
    }

    @Test(arguments: cases)
    func `mocker deployment serves and leaves nothing behind`(_ example: Case) async throws {
        let (_, exit) = try await Launcher.up(
            [Self.manifest, "--\(example.plane)"],
            environment: try Self.environment(example.peer)
        ) { deployment in
            try await deployment.waitUntilReady()
            let model = try await Chat.firstModel(deployment.url)

            let whole = try await HTTPRequests.post(
                "\(deployment.url)/v1/chat/completions",
                json: try Chat.body(model: model)
            )
            #expect(whole.status == 200, "\(whole.text)")
            #expect((try whole.object()["usage"] as? [String: Any])?["completion_tokens"] as? Int == 8)

            let streamed = try await HTTPRequests.post(
                "\(deployment.url)/v1/chat/completions",
                json: try Chat.body(model: model, stream: true)
            )
            #expect(streamed.status == 200, "\(streamed.text)")
            let events = Chat.events(of: streamed)
            // 1.6.1 puts several tokens into one event.
            #expect(events.count >= 2)
            #expect(events.last == "[DONE]")

            let instances = try await HTTPRequests.get("\(deployment.url)/health").text
            let key = ["tcp": "\"tcp\"", "http": "\"http\"", "nats": "\"nats_tcp\""][example.plane] ?? ""
            #expect(instances.contains(key), "registered elsewhere: \(instances)")

            let status = try await deployment.command("status", "--wait", "mocker")
            #expect(status.exit == .code(0), "\(status.output)")

            let before = deployment.processes
            #expect(before.count >= (example.plane == "nats" ? 3 : 2))
            let stop = try await deployment.command("stop", "mocker")
            #expect(stop.exit == .code(0), "\(stop.output)")
            try await deployment.program.waitForExit()
            #expect(deployment.processes.isEmpty)
            #expect(!SystemProcesses.isListening(port: deployment.port))
        }
        #expect(exit == .code(0))
    }

    @Test func `the http plane of 1_6_1 is refused before anything starts`() async throws {
        try await withTemporaryDirectory { directory in
            var environment = try Self.environment(.v161)
            environment["XDG_STATE_HOME"] = directory.path()
            environment["XDG_RUNTIME_DIR"] = directory.path()
            let (output, exit) = try await Launcher.run(["up", "--http", Self.manifest], environment: environment)
            #expect(exit == .code(1))
            #expect(output.contains("1.6.1"))
            #expect(output.contains("1.2"), "names the releases that have it: \(output)")
            #expect(output.contains("nothing was started"))
            #expect(!output.contains("pid"))
        }
    }

    @Test func `a worker that registers on another plane is found and named, not waited for`() async throws {
        try await withTemporaryDirectory { directory in
            let manifest = directory.appending(path: "mixed.yaml")
            try """
            name: mixed
            planes: tcp
            dynamo: {release: 1.2.1}
            processes:
              frontend: {module: dynamo.frontend}
              worker:
                role: worker
                command: [/bin/sh, -c, 'DYN_REQUEST_PLANE=http exec python3 -m dynamo.mocker --model-path ${MODEL_PATH}']
                ports: {system: auto}
            """.write(to: manifest, atomically: true, encoding: .utf8)
            let (output, exit) = try await Launcher.up(
                [manifest.path()],
                environment: try Self.environment(.v121)
            ) { deployment in
                try await deployment.program.waitForExit()
                return deployment.program.output
            }
            #expect(exit == .code(1))
            #expect(output.contains("worker registered mixed.backend.generate on the http plane"), "\(output)")
            #expect(output.contains("the deployment's plane is tcp"), "\(output)")
        }
    }
}
