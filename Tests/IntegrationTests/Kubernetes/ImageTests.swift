import Foundation
import TestSupport
import Testing

/// The Dockerfile, and what would be in its image, without an image registry.
@Suite(.serialized) struct ImageTests {
    /// One instruction of a Dockerfile, its continued lines joined.
    struct Instruction: Sendable {
        let name: String
        let text: String
    }

    static func instructions() throws -> [Instruction] {
        let text = try String(contentsOf: TestEnvironment.root.appending(path: "Dockerfile"), encoding: .utf8)
        var instructions: [Instruction] = []
        var open = ""
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            open += line.hasSuffix("\\") ? line.dropLast() + " " : line
            guard !line.hasSuffix("\\") else { continue }
            let words = open.split(separator: " ", maxSplits: 1)
            instructions.append(Instruction(name: String(words[0]), text: String(words.last ?? "")))
            open = ""
        }
        return instructions
    }

    /// The packages of the runtime stage.
    static func packages() throws -> [String] {
        let argument = try #require(try self.instructions().first { $0.text.hasPrefix("RUNTIME_PACKAGES=") })
        return argument.text.dropFirst("RUNTIME_PACKAGES=".count).split { " \"".contains($0) }.map(String.init)
    }

    static let programs = ["dynamo-launch", "dynamo-frontend", "dynamo-router", "dynamo-worker"]
    private static let fixtures = TestEnvironment.root.appending(path: "Tests/Fixtures/Kubernetes/image")

    private static func libraries(_ arguments: [String]) async throws -> [String] {
        let script = self.fixtures.appending(path: "libraries.py").path()
        let (output, exit) = try await withProgram("/usr/bin/env", ["python3", script] + arguments) { program in
            try await program.waitForExit(within: .seconds(60))
            return program.output
        }
        #expect(exit == .code(0), "\(output)")
        return output.split(separator: "\n").map(String.init)
    }

    @Test func `the image has two stages, a user who is not root, and nothing from the network but packages`() throws {
        let instructions = try Self.instructions()
        #expect(
            instructions.filter { $0.name == "FROM" }.map(\.text) == ["${SWIFT_IMAGE} AS build", "${RUNTIME_IMAGE}"]
        )
        #expect(!instructions.contains { $0.name == "ADD" })
        #expect(
            !instructions.contains { $0.text.contains("curl") || $0.text.contains("wget") || $0.text.contains("http") }
        )
        let last = try #require(instructions.lastIndex { $0.name == "FROM" })
        let runtime = instructions[last...]
        let user = try #require(runtime.last { $0.name == "USER" }).text
        #expect(user.wholeMatch(of: /[1-9][0-9]*:[1-9][0-9]*/) != nil, "\(user)")
        #expect(runtime.filter { $0.name == "COPY" }.map(\.text) == ["--from=build /programs/ /usr/local/bin/"])
        #expect(runtime.first { $0.name == "STOPSIGNAL" }?.text == "SIGTERM")
        #expect(runtime.first { $0.name == "ENTRYPOINT" }?.text == #"["/usr/local/bin/dynamo-launch"]"#)
        #expect(runtime.first { $0.name == "CMD" }?.text.hasPrefix(#"["up","#) == true)
        let build = try #require(instructions.first { $0.text.contains("swift build") }).text
        #expect(build.contains("-c release --static-swift-stdlib"))
        for program in Self.programs { #expect(build.contains(program)) }
        // What the build reads must be let through, and exist.
        let ignore = try String(contentsOf: TestEnvironment.root.appending(path: ".dockerignore"), encoding: .utf8)
        for source in ["Package.swift", "Sources", "Tests", "Examples", "launch"] {
            #expect(ignore.contains("\n!\(source)\n"))
            #expect(FileManager.default.fileExists(atPath: TestEnvironment.root.appending(path: source).path()))
        }
    }

    @Test func `the packages of the image are those that the programs need`() async throws {
        let programs = Self.programs.map { TestEnvironment.products.appending(path: $0).path() }
        let needed = Set(try await Self.libraries(["packages"] + programs))
        // Each base has the C library; the other two are said in the Dockerfile.
        let wanted = needed.subtracting(["libc6"]).union(["nats-server", "ca-certificates"])
        #expect(try Self.packages() == wanted.sorted())
    }

    @Test func `a single pod serves with a read-only root that has only the image's files`() async throws {
        let files = try await Self.libraries(["files"] + Self.packages())
        #expect(files.contains { $0.hasSuffix("/nats-server") })
        try await withTemporaryDirectory { directory in
            let list = directory.appending(path: "files")
            try (files.joined(separator: "\n") + "\n").write(to: list, atomically: true, encoding: .utf8)
            let manifest = directory.appending(path: "manifest.yaml")
            try #require(
                FileManager.default.contents(
                    atPath: TestEnvironment.root.appending(path: "launch/embedded.yaml").path()
                )
            )
            .write(to: manifest)
            chmod(directory.path(), 0o755)
            let pod = try await Self.container(of: manifest.path(), in: directory)
            let port = try freePort()
            let health = try freePort()
            // The network is this machine's, so other ports than the pod's own.
            let words = pod.arguments.map {
                $0.replacing("0.0.0.0:9180", with: "127.0.0.1:\(health)").replacing(
                    "http.port=8000",
                    with: "http.port=\(port)"
                )
            }
            #expect(words != pod.arguments)
            let place = directory.appending(path: "place")
            try FileManager.default.createDirectory(at: place, withIntermediateDirectories: false)
            var arguments = [place.path(), "\(pod.user)", list.path()]
            arguments += Self.programs.map {
                "\(TestEnvironment.products.appending(path: $0).path())=/usr/local/bin/\($0)"
            }
            arguments.append("\(manifest.path())=/etc/dynamo-launch/manifest.yaml")
            // Images have the Swift runtime inside the programs; those of a debug build have not.
            let swift = try await Self.swiftLibraries()
            arguments.append("\(swift)=\(swift)")
            arguments += ["--"] + pod.variables + pod.command + words
            let script = Self.fixtures.appending(path: "container.sh").path()
            let (_, exit) = try await withProgram(script, arguments) { program in
                do {
                    try await eventually(within: .seconds(60), "the kubelet is told that it is ready") {
                        (try? await HTTPRequests.get("http://127.0.0.1:\(health)/ready"))?.status == 200
                    }
                    let answer = try await HTTPRequests.post(
                        "http://127.0.0.1:\(port)/v1/chat/completions",
                        json: try Chat.body(model: "echo", prompt: "Hello pod")
                    )
                    #expect(answer.status == 200 && answer.text.contains("Hello pod"), "\(answer.text)")
                    #expect(program.output.contains("nats: started"))
                    let first = try #require(SystemProcesses.children(of: program.pid).first)
                    let status = try String(contentsOfFile: "/proc/\(first)/status", encoding: .utf8)
                    #expect(status.contains("Uid:\t\(pod.user)\t\(pod.user)\t\(pod.user)\t\(pod.user)\n"))
                    #expect(status.contains("CapEff:\t0000000000000000\n"))
                    kill(first, SIGTERM)
                    try await program.waitForExit(within: .seconds(20))
                } catch { throw DeploymentFailure(error: error, output: String(program.output.suffix(8000))) }
            }
            #expect(exit == .code(0))
        }
    }

    // MARK: The pod

    private struct Container {
        var user: Int
        var command: [String]
        var arguments: [String]
        /// `NAME=VALUE`.
        var variables: [String]
    }

    /// What `generate k8s --single-pod` writes of the container, on NATS.
    private static func container(of manifest: String, in directory: URL) async throws -> Container {
        let folder = directory.appending(path: "objects").path()
        let (said, exit) = try await Launcher.run([
            "generate", "k8s", "--single-pod", "--nats", manifest, "--output", folder,
        ])
        #expect(exit == .code(0), "\(said)")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
        let file = try #require(names.first { $0.hasSuffix("-deployments.yaml") }, "\(names)")
        let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))"
        let (json, _) = try await withProgram(
            try TestEnvironment.kubernetesTool("python"),
            ["-c", script, "\(folder)/\(file)"]
        ) { program in
            try await program.waitForExit()
            return program.output
        }
        struct Object: Decodable {
            struct Spec: Decodable { var template: Template }
            struct Template: Decodable { var spec: Pod }
            struct Pod: Decodable {
                var securityContext: Security
                var containers: [Item]
            }
            struct Security: Decodable { var runAsUser: Int }
            struct Item: Decodable {
                var command: [String]
                var args: [String]
                var env: [Variable]
            }
            struct Variable: Decodable {
                var name: String
                var value: String
            }
            var spec: Spec
        }
        let pod = try JSONDecoder().decode(Object.self, from: Data(json.utf8)).spec.template.spec
        let container = try #require(pod.containers.first)
        return Container(
            user: pod.securityContext.runAsUser,
            command: container.command,
            arguments: container.args,
            variables: container.env.map { "\($0.name)=\($0.value)" }
        )
    }

    private static func swiftLibraries() async throws -> String {
        let (output, _) = try await withProgram("/usr/bin/ldd", [Launcher.path]) { program in
            try await program.waitForExit()
            return program.output
        }
        let line = try #require(output.split(separator: "\n").first { $0.contains("libswiftCore.so") })
        let path = try #require(line.split(separator: " ").first { $0.hasPrefix("/") })
        return String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)])
    }
}
