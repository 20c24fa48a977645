import Foundation
import TestSupport
import Testing

/// The cluster of `Tests/Fixtures/Kubernetes/cluster`: an API server for the real kubectl, whose pods are processes of this machine.
struct FakeCluster: Sendable {
    /// What a command said, and how it ended.
    struct Ending: Sendable {
        let output: String
        let exit: ProgramExit
    }

    /// A request that the API server has got.
    struct Request: Decodable, Sendable {
        var method: String
        var path: String
        var code: Int
    }

    private struct Ports: Decodable {
        var api: Int
        var clients: Int
        var gateway: Int
    }

    let program: RunningProgram
    /// For whatever the test writes.
    let directory: URL
    /// Where clients from outside come in, by the connection.
    let clients: String
    /// Where the HTTPRoutes lead from, by the request.
    let gateway: String
    private let state: URL

    private var environment: [String: String?] {
        get throws {
            let tools = URL(filePath: try TestEnvironment.kubernetesTool("kubectl")).deletingLastPathComponent().path()
            let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
            return [
                "KUBECONFIG": self.state.appending(path: "kubeconfig").path(), "PATH": "\(tools):\(path)",
                "HOME": self.directory.path(),
            ]
        }
    }

    /// Runs a cluster for as long as the body does.
    ///
    /// - Parameters:
    ///   - service: the Service that clients from outside come to.
    ///   - body: the test.
    /// - Throws: what the body throws, with what the cluster and its containers have said.
    static func run(_ service: String, _ body: (FakeCluster) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            let state = directory.appending(path: "cluster")
            let script = TestEnvironment.root.appending(path: "Tests/Fixtures/Kubernetes/cluster/cluster.py").path()
            let nats = try #require(Self.folder(of: "nats-server"), "nats-server is not on the PATH")
            let arguments = [
                script, state.path(), "--image", "dynamo-launch=\(TestEnvironment.products.path())", "--image", "etcd=",
                "--image", "nats=\(nats),nats-server", "--image", "local-python=", "--image",
                "ai-dynamo=\(try Self.dynamo())", "--clients", "default/\(service)",
                "--gateway", "default", "--backoff", "0.2",
            ]
            _ = try await withProgram(try TestEnvironment.kubernetesTool("python"), arguments) { program in
                try await program.waitForOutput("\n")
                let ports = try JSONDecoder().decode(Ports.self, from: Data(program.output.prefix { $0 != "\n" }.utf8))
                let cluster = FakeCluster(
                    program: program,
                    directory: directory,
                    clients: "http://127.0.0.1:\(ports.clients)",
                    gateway: "http://127.0.0.1:\(ports.gateway)",
                    state: state
                )
                do { try await body(cluster) } catch { throw ClusterFailure(error: error, output: cluster.said) }
                // What it could not do as a cluster does would make the test say nothing.
                #expect(!program.output.contains("Traceback"), "\(program.output)")
            }
        }
    }

    /// Runs a program with kubectl on its PATH to its end.
    @discardableResult
    func run(_ program: String, _ arguments: [String], within limit: Duration = .seconds(60)) async throws -> Ending {
        let (output, exit) = try await withProgram(program, arguments, environment: try self.environment) { running in
            try await running.waitForExit(within: limit)
            return running.output
        }
        return Ending(output: output, exit: exit)
    }

    /// Runs kubectl, which must succeed.
    @discardableResult
    func kubectl(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws -> String {
        let ending = try await self.run(try TestEnvironment.kubernetesTool("kubectl"), arguments)
        #expect(ending.exit == .code(0), "kubectl \(arguments): \(ending.output)", sourceLocation: sourceLocation)
        return ending.output
    }

    /// Writes a manifest's objects, or with `--migrate-to` its migration, into a folder of the test.
    func generate(_ manifest: String, into folder: String, _ arguments: String...) async throws -> String {
        try await self.generate(manifest, into: folder, arguments)
    }

    func generate(_ manifest: String, into folder: String, _ arguments: [String]) async throws -> String {
        let file = self.directory.appending(path: "\(folder).yaml")
        try manifest.write(to: file, atomically: true, encoding: .utf8)
        let output = self.directory.appending(path: folder).path()
        let (text, exit) = try await Launcher.run(["generate", "k8s", file.path(), "-o", output] + arguments)
        try #require(exit == .code(0), "\(text)")
        return output
    }

    /// Runs the script of a migration.
    func migrate(_ folder: String, _ arguments: String..., within limit: Duration = .seconds(60)) async throws -> Ending
    {
        try await self.run("\(folder)/migrate.sh", arguments + ["--yes"], within: limit)
    }

    /// Runs the script, and kills it once it has said something.
    func migrate(_ folder: String, killedAfter text: String, _ arguments: String...) async throws {
        let ending = try await self.migrate(folder, SIGKILL, after: text, arguments)
        #expect(ending.exit == .signal(SIGKILL), "\(ending.output)")
    }

    /// Runs the script, and sends it a signal once it has said something.
    func migrate(_ folder: String, _ signal: Int32, after text: String, _ arguments: [String]) async throws -> Ending {
        let (output, exit) = try await withProgram(
            "\(folder)/migrate.sh",
            arguments + ["--yes"],
            environment: try self.environment
        ) { program in
            try await program.waitForOutput(text)
            program.send(signal)
            try await program.waitForExit(within: .seconds(60))
            return program.output
        }
        return Ending(output: output, exit: exit)
    }

    /// Applies a generation's objects, and waits until it answers clients.
    func start(_ folder: String, model: String = "echo") async throws {
        try await self.kubectl("apply", "-f", folder)
        try await eventually(within: .seconds(40), "the deployment serves: \(self.said)") {
            let reply = try? await HTTPRequests.get("\(self.clients)/v1/models", limit: 2)
            return reply?.status == 200 && reply?.text.contains(#""\#(model)""#) == true
        }
    }

    /// The names of objects, `KIND/NAME`, of a generation.
    func objects(generation: Int) async throws -> [String] {
        try await self.kubectl(
            "get",
            "deployments,services,configmaps,serviceaccounts,networkpolicies,pods",
            "-o",
            "name",
            "-l",
            "dynamo-launch/generation=\(generation)"
        ).split(separator: "\n").map(String.init).filter { !$0.hasPrefix("No resources") }
    }

    /// All requests that the API server has got.
    func requests() throws -> [Request] {
        let text = try String(contentsOf: self.state.appending(path: "requests.jsonl"), encoding: .utf8)
        return try text.split(separator: "\n").map { try JSONDecoder().decode(Request.self, from: Data($0.utf8)) }
    }

    /// What the cluster and the containers have said, for failures.
    var said: String {
        let logs = self.state.appending(path: "logs")
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: logs.path())) ?? []).sorted()
        let texts = names.map { name -> String in
            let text = (try? String(contentsOf: logs.appending(path: name), encoding: .utf8)) ?? ""
            return "== \(name)\n\(text.suffix(1500))"
        }
        return "\(self.program.output.suffix(3000))\n\(texts.joined(separator: "\n"))"
    }

    /// The programs of Dynamo 1.2.1.
    private static func dynamo() throws -> String {
        URL(filePath: try TestEnvironment.python(.v121)).deletingLastPathComponent().path()
    }

    private static func folder(of program: String) -> String? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
            .first { FileManager.default.isExecutableFile(atPath: "\($0)/\(program)") }
    }
}

/// A test in the cluster failed.
struct ClusterFailure: Error, CustomStringConvertible {
    let error: any Error
    let output: String
    var description: String { "\(self.error)\nwhat the cluster said:\n\(self.output)" }
}
