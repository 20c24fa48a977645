import Foundation
import TestSupport

/// A `dynamo-launch up` that a test has started, in folders and on ports of its own.
struct LaunchedDeployment: Sendable {
    let program: RunningProgram
    let directory: URL
    let port: Int
    let environment: [String: String?]

    var url: String { "http://127.0.0.1:\(self.port)" }

    /// Waits for the line that says that the deployment serves.
    func waitUntilReady(within limit: Duration = .seconds(60)) async throws {
        try await self.program.waitForOutput("ready in ", within: limit)
    }

    /// Runs another subcommand against this deployment.
    func command(_ arguments: String...) async throws -> (output: String, exit: ProgramExit) {
        try await Launcher.run(arguments, environment: self.environment)
    }

    /// The processes of the deployment, grandchildren included, by the mark in their environment.
    var processes: [Int32] {
        SystemProcesses.withEnvironment(containing: "XDG_STATE_HOME=\(self.directory.path())").filter {
            $0 != self.program.pid
        }
    }
}

/// What a test of a deployment threw, with what the deployment had printed by then.
struct DeploymentFailure: Error, CustomStringConvertible {
    let error: any Error
    let output: String

    var description: String { "\(self.error)\nthe deployment's output, its end:\n\(self.output)" }
}

/// The program under test.
enum Launcher {
    static let path = TestEnvironment.products.appending(path: "dynamo-launch").path()

    /// Runs a command to its end.
    static func run(
        _ arguments: [String],
        environment: [String: String?] = [:],
        workingDirectory: String? = nil,
        within limit: Duration = .seconds(30)
    ) async throws -> (output: String, exit: ProgramExit) {
        let (output, exit) = try await withProgram(
            self.path,
            arguments,
            environment: environment,
            workingDirectory: workingDirectory
        ) { program in
            try await program.waitForExit(within: limit)
            return program.output
        }
        return (output, exit)
    }

    /// Starts `up` in a folder of its own, which can be prepared, and gives the deployment to a body; afterwards it is stopped, and nothing of it may be left.
    static func up<Value: Sendable>(
        _ arguments: [String] = [],
        environment: [String: String?] = [:],
        prepare: (_ directory: URL) throws -> Void = { _ in },
        _ body: (LaunchedDeployment) async throws -> Value
    ) async throws -> (value: Value, exit: ProgramExit) {
        try await withTemporaryDirectory { directory in
            try prepare(directory)
            let port = try freePort()
            var variables: [String: String?] = [
                "XDG_STATE_HOME": directory.path(),
                "XDG_RUNTIME_DIR": directory.path(),
                "DYN_HTTP_PORT": "\(port)",
                "DYN_TCP_RPC_HOST": nil,
                "NO_COLOR": "1",
            ]
            variables.merge(environment) { $1 }
            let all = variables
            let result = try await withProgram(
                self.path,
                ["up"] + arguments,
                environment: all,
                workingDirectory: directory.path()
            ) { program in
                let deployment = LaunchedDeployment(
                    program: program,
                    directory: directory,
                    port: port,
                    environment: all
                )
                do { return try await body(deployment) } catch {
                    throw DeploymentFailure(error: error, output: String(program.output.suffix(8000)))
                }
            }
            try await eventually(within: .seconds(5), "nothing of the deployment is left") {
                SystemProcesses.withEnvironment(containing: "XDG_STATE_HOME=\(directory.path())").isEmpty
            }
            return result
        }
    }
}

/// Requests to a frontend, as a client of the OpenAI interface sends them.
enum Chat {
    static func body(
        model: String,
        prompt: String = "Hello there",
        tokens: Int = 8,
        stream: Bool = false
    ) throws -> String {
        let object: [String: Any] = [
            "model": model, "max_tokens": tokens, "stream": stream,
            "messages": [["role": "user", "content": prompt]],
        ]
        return String(decoding: try JSONSerialization.data(withJSONObject: object), as: UTF8.self)
    }

    /// The id of the first model that a frontend lists.
    static func firstModel(_ url: String) async throws -> String {
        let list = try await HTTPRequests.get("\(url)/v1/models").object()
        let models = list["data"] as? [[String: Any]] ?? []
        guard let id = models.first?["id"] as? String else {
            throw OutputMissing(text: "a model", ended: false, output: "\(list)")
        }
        return id
    }

    /// The events of a streamed answer without the `data: ` in front.
    static func events(of answer: HTTPReply) -> [String] {
        answer.text.split(separator: "\n").filter { $0.hasPrefix("data: ") }.map {
            String($0.dropFirst("data: ".count))
        }
    }
}
