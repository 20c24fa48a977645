import Deployment
import Foundation
import Glibc
import Supervisor
import TestSupport
import Testing

/// Leases of GPUs and ports of deployments whose launcher is killed, and whose processes go on.
@Suite(.serialized) struct SurvivingLeaseTests {
    /// Two deployments that want the same things, on a machine whose one GPU no other test has.
    private struct Place {
        let first: KilledDeployment
        let second: KilledDeployment
        let tools: String
        let gpu: String
        let identifier: String

        init(_ directory: URL, second more: String = "") throws {
            let number = Int.random(in: 1000...99_999_999)
            self.gpu = "\(number)"
            self.identifier = "GPU-test-\(number)"
            self.tools = directory.path()
            let tool = directory.appending(path: "nvidia-smi")
            let script = """
                #!/bin/sh
                case "$1" in --query-gpu=index,uuid) echo '\(self.gpu), \(self.identifier)';; esac
                """
            try script.write(to: tool, atomically: true, encoding: .utf8)
            chmod(tool.path(), 0o755)
            self.first = try KilledDeployment("first", in: directory, manifest: Self.manifest("first"))
            self.second = try KilledDeployment("second", in: directory, manifest: Self.manifest("second", more: more))
        }

        static func manifest(_ name: String, gpus: String = ", gpus: 1", more: String = "") -> String {
            """
            name: \(name)
            survive: true
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker\(gpus)}
            \(more)
            """
        }

        var environment: [String: String?] { ["PATH": "\(self.tools):/usr/bin:/bin"] }

        /// Runs a launcher of the first one until it is ready, and kills it after the body.
        func killedLauncher(_ body: (RunningProgram) async throws -> Void = { _ in }) async throws {
            try await self.first.up(environment: self.environment) { program in
                try await program.waitForOutput("ready in ")
                try await body(program)
                program.send(SIGKILL)
                try await program.waitForExit()
            }
        }

        /// What the other one says that is not started.
        func refusal(_ environment: [String: String?] = [:]) async throws -> String {
            let (output, exit) = try await Launcher.run(
                ["up"] + self.second.arguments,
                environment: self.second.environment.merging(self.environment) { $1 }.merging(environment) { $1 },
                within: .seconds(60)
            )
            #expect(exit == .code(1), "\(output)")
            return output
        }

        /// The names of leases that there are on this machine, of this place's GPU.
        var devices: [String] {
            SystemProcesses.abstractNames.filter { name in
                name.hasPrefix("dynamo-launch/gpu/")
                    && (name.hasSuffix(":\(self.gpu)") || name.hasSuffix(self.identifier))
            }
        }
    }

    private static func within(_ more: String = "", _ body: (Place) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            let place = try Place(directory, second: more)
            let result: Result<Void, any Error>
            do { result = .success(try await body(place)) } catch { result = .failure(error) }
            _ = try await place.second.command("stop", "second")
            _ = try await place.first.command("stop", "first")
            try result.get()
            try await eventually(within: .seconds(15), "nothing is left") {
                SystemProcesses.withEnvironment(containing: "XDG_STATE_HOME=\(directory.path())").isEmpty
            }
            #expect(place.devices.isEmpty, "\(place.devices)")
        }
    }

    private static let remedy =
        "whose launcher is gone and whose processes go on ('dynamo-launch up MANIFEST' adopts them, 'dynamo-launch stop first' ends them)"

    @Test func `nothing is kept for a deployment of which nothing runs when its launcher is killed`() async throws {
        try await Self.within { place in
            try place.first.write(
                """
                name: first
                survive: true
                processes:
                  worker: {role: worker, command: [/bin/sh, -c, "exit 1"], gpus: 1, restart: {initialDelay: 60s}}
                """
            )
            try await place.first.up(environment: place.environment) { program in
                try await program.waitForOutput("restart 1 of at most ")
                #expect(!place.devices.isEmpty)
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            try await eventually(within: .seconds(10), "its GPU is free") { place.devices.isEmpty }
        }
    }

    @Test func `a GPU is nobody else's while the processes that have it go on, and free when they are ended`()
        async throws
    {
        try await Self.within { place in
            try await place.killedLauncher()
            let refused = try await place.refusal()
            #expect(
                refused.contains("this machine has 1, \(place.gpu) held by deployment 'first' (pid "),
                "\(refused)"
            )
            #expect(refused.contains(Self.remedy), "\(refused)")
            // The next launcher is not in its own way, and it is the holder then.
            try await place.killedLauncher { program in
                #expect(program.output.contains("worker: adopted, pid"), "\(program.output)")
                #expect(try await place.first.client.status().replicas.contains { $0.gpus == [place.gpu] })
                let refused = try await place.refusal()
                #expect(refused.contains("held by deployment 'first' (pid \(program.pid), user "), "\(refused)")
                #expect(!refused.contains("launcher is gone"), "\(refused)")
                try await eventually("the keeper has let go what the one before had leased") {
                    place.devices.allSatisfy { $0.contains("/\(program.pid)/") } && place.devices.count == 2
                }
            }
            // It was given them too.
            #expect(try await place.refusal().contains(Self.remedy))
            let (said, exit) = try await place.first.command("stop", "first")
            #expect(exit == .code(0), "\(said)")
            #expect(place.devices.isEmpty, "\(place.devices)")
            try await place.second.up(environment: place.environment) { program in
                try await program.waitForOutput("ready in ")
                program.send(SIGTERM)
                try await program.waitForExit()
            }
        }
    }

    @Test func `a GPU is free when nothing is left of those that had it, also without a launcher`() async throws {
        try await Self.within { place in
            try await place.killedLauncher()
            #expect(!place.devices.isEmpty)
            for pid in place.first.pids.values { kill(pid, SIGKILL) }
            try await eventually("the keeper lets it go") { place.devices.isEmpty }
            try await place.second.up(environment: place.environment) { program in
                try await program.waitForOutput("ready in ")
                #expect(try await place.second.client.status().replicas.contains { $0.gpus == [place.gpu] })
                program.send(SIGTERM)
                try await program.waitForExit(within: .seconds(20))
            }
        }
    }

    @Test func `a GPU that the manifest does not want any more is given back after the change`() async throws {
        try await Self.within { place in
            try await place.killedLauncher()
            try place.first.write(Place.manifest("first", gpus: ""))
            try await place.first.up(environment: place.environment) { program in
                try await program.waitForOutput("ready in ")
                try await eventually(within: .seconds(30), "the worker is another one, without a GPU") {
                    try await place.first.client.status().replicas.allSatisfy { $0.gpus == nil || $0.gpus == [] }
                        && place.devices.isEmpty
                }
                program.send(SIGTERM)
                try await program.waitForExit()
            }
        }
    }

    @Test func `a port stays leased without a launcher, also while nobody listens on it`() async throws {
        try await Self.within { place in
            var port = 0
            try await place.killedLauncher { _ in
                let worker = try await place.first.client.status().replicas.first { $0.name == "worker" }
                port = try #require(worker?.ports.first { $0.leased }?.port)
            }
            let lease = "dynamo-launch/port/\(port)"
            // Not even while the next launcher takes it over.
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    while !Task.isCancelled {
                        #expect(SystemProcesses.abstractNames.contains(lease))
                        try? await Task.sleep(for: .milliseconds(5))
                    }
                }
                let home = place.first.directory.path()
                for pid in SystemProcesses.withEnvironment(containing: "DYNAMO_LAUNCH_REPLICA=first/worker")
                where SystemProcesses.environment(of: pid)["XDG_STATE_HOME"] == home { kill(pid, SIGKILL) }
                try await eventually("nobody listens there") { !SystemProcesses.isListening(port: port) }
                try await place.killedLauncher { program in
                    #expect(program.output.contains("worker: killed by SIGKILL"), "\(program.output)")
                    let worker = try await place.first.client.status().replicas.first { $0.name == "worker" }
                    #expect(worker?.ports.contains { $0.port == port } == true)
                }
                group.cancelAll()
                try await group.waitForAll()
            }
            _ = try await place.first.command("stop", "first")
            #expect(!SystemProcesses.abstractNames.contains(lease))
        }
    }

    @Test func `who has a port without a launcher is named with its deployment`() async throws {
        try await Self.within { place in
            var port = 0
            try await place.killedLauncher { _ in
                let worker = try await place.first.client.status().replicas.first { $0.name == "worker" }
                port = try #require(worker?.ports.first { $0.leased }?.port)
            }
            try place.second.write(
                Place.manifest(
                    "second",
                    gpus: "",
                    more: "  other: {role: infrastructure, command: [sleep, \"1000\"], ports: {web: \(port)}}"
                )
            )
            let refused = try await place.refusal()
            #expect(refused.contains("other: port \(port) (web) is already in use by pid "), "\(refused)")
            #expect(refused.contains(") of deployment 'first', \(Self.remedy); stop it"), "\(refused)")
            // The process of the public port is one of the deployment, too.
            let address = try await place.refusal(["DYN_HTTP_PORT": "\(place.first.port)"])
            #expect(address.contains(") of deployment 'first', \(Self.remedy) listens there"), "\(address)")
        }
    }
}
