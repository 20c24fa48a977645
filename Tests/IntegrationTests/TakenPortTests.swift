import Deployment
import Foundation
import Glibc
import Supervisor
import TestSupport
import Testing

/// Ports and devices of this machine that somebody else has.
@Suite(.serialized) struct TakenPortTests {
    /// The worker is started when the test says so.
    private static func manifest(_ directory: URL, worker: String = "") -> String {
        """
        name: taken
        model: echo
        planes: tcp
        processes:
          gate:
            role: infrastructure
            command: [sleep, "1000"]
            probes: {port: {exec: [test, -e, "\(directory.path())/go"]}}
          frontend: {builtin: frontend}
          worker:
            builtin: worker
            dependsOn: {gate: port}
            args: [--engine, echo, --model-name, "{{model}}"]
        \(worker)
        """
    }

    /// A socket that is bound and does not listen: nothing shows it until a program wants the port.
    private final class Squatter {
        private let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)

        init(_ port: Int) throws {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(port).bigEndian
            let result = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            try #require(result == 0)
        }

        deinit { close(self.descriptor) }
    }

    private static func status(_ deployment: LaunchedDeployment) async throws -> DeploymentStatus {
        let json = try await deployment.command("status", "--json").output
        return try JSONDecoder().decode(DeploymentStatus.self, from: Data(json.utf8))
    }

    @Test func `a worker whose leased port is taken meanwhile serves on another one`() async throws {
        let (_, exit) = try await Launcher.up(
            ["taken.yaml"],
            prepare: { directory in
                try Self.manifest(directory)
                    .write(to: directory.appending(path: "taken.yaml"), atomically: true, encoding: .utf8)
            }
        ) { deployment in
            try await deployment.program.waitForOutput("gate: started", within: .seconds(60))
            let before = try await Self.status(deployment).replicas.first { $0.name == "worker" }
            let port = try #require(before?.ports.first { $0.name == "system" }?.port)
            let squatter = try Squatter(port)
            try Data().write(to: deployment.directory.appending(path: "go"))
            // "Address already in use" has the words of what is waited for elsewhere.
            try await deployment.program.waitForOutput("| ready in ", within: .seconds(60))
            let after = try await Self.status(deployment).replicas.first { $0.name == "worker" }
            let renewed = try #require(after?.ports.first { $0.name == "system" }?.port)
            #expect(renewed != port)
            #expect(
                deployment.program.output.contains(
                    "worker: port \(port) (system) is taken by a process that does not listen on it yet; it gets \(renewed)"
                ),
                "\(deployment.program.output)"
            )
            let events = try await deployment.command("events")
            #expect(events.output.contains("it gets \(renewed)"))
            // What runs is what the manifest means.
            let apply = try await deployment.command("apply")
            #expect(apply.output.contains("nothing to change"), "\(apply.output)")
            withExtendedLifetime(squatter) {}
        }
        #expect(exit == .code(0))
    }

    @Test func `two workers whose ports are taken at once both get others`() async throws {
        let (_, exit) = try await Launcher.up(
            ["taken.yaml"],
            prepare: { directory in
                try Self.manifest(directory, worker: "    replicas: 2")
                    .write(to: directory.appending(path: "taken.yaml"), atomically: true, encoding: .utf8)
            }
        ) { deployment in
            try await deployment.program.waitForOutput("gate: started", within: .seconds(60))
            func ports() async throws -> [Int] {
                try await Self.status(deployment).replicas.filter { $0.process == "worker" }
                    .compactMap { $0.ports.first { $0.name == "system" }?.port }
            }
            let before = try await ports()
            let squatters = try before.map { try Squatter($0) }
            try Data().write(to: deployment.directory.appending(path: "go"))
            try await deployment.program.waitForOutput("| ready in ", within: .seconds(60))
            let after = try await ports()
            #expect(before.count == 2 && after.count == 2 && Set(before + after).count == 4, "\(before) \(after)")
            let output = deployment.program.output
            #expect(
                output.matches(of: /; it gets \d+/).count == 2 && !output.contains("cannot get another"),
                "\(output)"
            )
            withExtendedLifetime(squatters) {}
        }
        #expect(exit == .code(0))
    }

    @Test func `a port that the manifest gives is not changed, and its holder is named`() async throws {
        try await withTemporaryDirectory { directory in
            let port = 20_000 + Int.random(in: 0..<10_000)
            let squatter = try Squatter(port)
            try Data().write(to: directory.appending(path: "go"))
            let text = Self.manifest(
                directory,
                worker: "    ports: {system: \(port)}\n    restart: {maxRestarts: 1, initialDelay: 10ms}"
            )
            let file = directory.appending(path: "taken.yaml")
            try text.write(to: file, atomically: true, encoding: .utf8)
            let (output, exit) = try await Launcher.run(
                ["up", file.path()],
                environment: [
                    "XDG_RUNTIME_DIR": directory.path(), "XDG_STATE_HOME": directory.path(),
                    "DYN_HTTP_PORT": "\(try freePort())",
                ],
                within: .seconds(60)
            )
            #expect(exit == .code(1))
            #expect(
                output.contains(
                    "worker: port \(port) (system), which it is given and which is not changed, is taken by"
                ),
                "\(output)"
            )
            #expect(output.contains("taken.yaml:10:3"), "\(output)")
            withExtendedLifetime(squatter) {}
        }
    }

    @Test func `two deployments do not get one GPU, unless both share`() async throws {
        // Named by an identifier of this test: nobody else has it.
        let device = "GPU-test-\(getpid())"
        func text(_ name: String, _ more: String = "") -> String {
            """
            name: \(name)
            model: echo
            planes: tcp
            http: {port: auto}
            \(more)
            processes:
              frontend: {builtin: frontend}
              worker:
                builtin: worker
                gpus: [\(device)]
                args: [--engine, echo, --model-name, "{{model}}"]
            """
        }
        let (_, exit) = try await Launcher.up(
            ["first.yaml"],
            environment: ["CUDA_VISIBLE_DEVICES": nil],
            prepare: { directory in
                try text("first").write(to: directory.appending(path: "first.yaml"), atomically: true, encoding: .utf8)
                try text("second")
                    .write(to: directory.appending(path: "second.yaml"), atomically: true, encoding: .utf8)
            }
        ) { deployment in
            try await deployment.waitUntilReady()
            let status = try await deployment.command("status", "first")
            #expect(status.output.contains(#/PORTS +GPUS +NOTE/#), "\(status.output)")
            #expect(status.output.contains(device))
            let file = deployment.directory.appending(path: "second.yaml").path()
            let holder = "is held by deployment 'first' (pid \(deployment.program.pid), user "
            let check = try await deployment.command("check", file)
            #expect(check.exit == .code(0) && check.output.contains(holder), "\(check.output)")
            let second = try await deployment.command("up", file)
            #expect(second.exit == .code(1))
            #expect(
                second.output.contains("second.yaml:10:11: error: GPU \(device) of process 'worker' \(holder)"),
                "\(second.output)"
            )
            #expect(second.output.contains("gpuSharing: shared"))
            // The deployment's own lease is in nobody's way.
            let own = deployment.directory.appending(path: "first.yaml")
            let plan = try await deployment.command("plan", own.path())
            #expect(!plan.output.contains("is held by"), "\(plan.output)")
            // A worker that goes gives its device back.
            try text("first").replacing("    gpus: [\(device)]\n", with: "")
                .write(to: own, atomically: true, encoding: .utf8)
            let apply = try await deployment.command("apply")
            #expect(apply.exit == .code(0), "\(apply.output)")
            let free = try await deployment.command("check", file)
            #expect(!free.output.contains("is held by"), "\(free.output)")
        }
        #expect(exit == .code(0))
    }
}
