import Foundation
import Supervisor
import TestSupport
import Testing

/// A deployment that works, and generations with faults that it is to be migrated to.
struct FaultyGenerations: Sendable {
    /// How a migration ended for the person who began it.
    struct Ending: Sendable {
        let output: String
        let exit: ProgramExit
        let status: MigrationStatus
    }

    static let frontend = "{builtin: frontend}"
    static let worker = #"{builtin: worker, args: [--engine, echo, --model-name, "{{model}}"]}"#

    /// Thresholds for tests that are not about times: on a machine that others use too, they would end migrations.
    static let patience = "firstToken: 100, betweenTokens: 100"

    let deployment: LaunchedDeployment

    /// The fault of a Python worker is there while this file is.
    var fault: URL { self.deployment.directory.appending(path: "fault") }

    func switchOn() throws { try Data().write(to: self.fault) }

    func switchOff() { try? FileManager.default.removeItem(at: self.fault) }

    /// Starts the deployment that works.
    ///
    /// - Parameters:
    ///   - worker: of the first generation.
    ///   - body: the test.
    /// - Throws: what the body throws.
    static func run(
        worker: String = Self.worker,
        _ body: (FaultyGenerations) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let manifest = directory.appending(path: "old.yaml")
            try Self.text(frontend: Self.frontend, worker: worker).write(
                to: manifest,
                atomically: true,
                encoding: .utf8
            )
            let (_, exit) = try await Launcher.up([manifest.path()]) { deployment in
                try await deployment.waitUntilReady()
                try await body(FaultyGenerations(deployment: deployment))
            }
            #expect(exit == .code(0))
        }
    }

    /// A worker on Dynamo's own runtime, with a fault of `faulty_worker.py`.
    func worker(_ fault: String, more: String = "") throws -> String {
        let script = TestEnvironment.root.appending(path: "Tests/Fixtures/Dynamo/faulty_worker.py").path()
        return """
            {command: ["\(try TestEnvironment.python(.v121))", "\(script)", \(fault), "\(self.fault.path())", \
            --model-path, "\(try TestEnvironment.model())", --model-name, "{{model}}", \
            --endpoint, "{{namespace}}.backend.generate"], role: worker\(more)}
            """
    }

    private static func text(
        frontend: String,
        worker: String,
        plane: String = "tcp",
        nats: String = "managed",
        migration: String = ""
    ) -> String {
        let thresholds = migration.contains("thresholds") ? "" : ", thresholds: {\(Self.patience)}"
        return """
            name: chat
            model: echo
            planes: \(plane)
            discovery: file
            gateway: true
            infrastructure: {nats: \(nats)}
            migration: {steps: [25, 100], observe: 6s, rollbackWindow: 0s\(migration)\(thresholds)}
            processes:
              frontend: \(frontend)
              worker: \(worker)
            """
    }

    /// Writes the manifest of a new generation.
    func manifest(
        frontend: String = Self.frontend,
        worker: String = Self.worker,
        plane: String = "tcp",
        nats: String = "managed",
        migration: String = ""
    ) throws -> String {
        let file = self.deployment.directory.appending(path: "new-\(UInt32.random(in: 0...(.max))).yaml")
        let text = Self.text(frontend: frontend, worker: worker, plane: plane, nats: nats, migration: migration)
        try text.write(to: file, atomically: true, encoding: .utf8)
        return file.path()
    }

    /// Migrates, and waits for the end.
    ///
    /// - Parameters:
    ///   - manifest: of the new generation.
    ///   - meanwhile: gets the command, and what it has said.
    /// - Returns: how it ended.
    /// - Throws: what `meanwhile` throws.
    func migrate(
        _ manifest: String,
        _ meanwhile: (RunningProgram) async throws -> Void = { _ in }
    ) async throws -> Ending {
        let (output, exit) = try await withProgram(
            Launcher.path,
            ["migrate", "--to-manifest", manifest],
            environment: self.deployment.environment
        ) { program in
            try await meanwhile(program)
            try await program.waitForExit(within: .seconds(60))
            return program.output
        }
        let json = try await self.deployment.command("migrate", "status", "--json").output
        let status = try JSONDecoder().decode(MigrationStatus.self, from: Data(json.utf8))
        return Ending(output: output, exit: exit, status: status)
    }

    /// Migrates to a generation that is taken back, and looks at what is left.
    ///
    /// - Parameters:
    ///   - manifest: of the new generation.
    ///   - reason: what a person must be told.
    ///   - sourceLocation: of the call.
    ///   - meanwhile: as in `migrate`.
    /// - Returns: how it ended.
    /// - Throws: what `meanwhile` throws.
    @discardableResult
    func takesBack(
        _ manifest: String,
        because reason: String...,
        sourceLocation: SourceLocation = #_sourceLocation,
        _ meanwhile: (RunningProgram) async throws -> Void = { _ in }
    ) async throws -> Ending {
        let before = (try await self.status(), self.deployment.processes)
        let ending = try await self.migrate(manifest, meanwhile)
        let (output, number) = (ending.output, ending.status.to.number)
        #expect(ending.exit == .code(1), "\(output)", sourceLocation: sourceLocation)
        #expect(ending.status.step == .rolledBack, "\(output)", sourceLocation: sourceLocation)
        // The last line says why, and what serves.
        let last = output.split(separator: "\n").last.map(String.init) ?? ""
        #expect(last.hasPrefix("error: deployment chat: not migrated: "), "\(output)", sourceLocation: sourceLocation)
        #expect(last.hasSuffix("; generation 1 (tcp) serves as before"), "\(output)", sourceLocation: sourceLocation)
        for words in reason { #expect(last.contains(words), "\(output)", sourceLocation: sourceLocation) }
        let folder = "\(self.deployment.directory.path())/dynamo-launch/chat/g\(number)"
        let logs = (try? FileManager.default.contentsOfDirectory(atPath: "\(folder)/logs")) ?? []
        // Where to look, if there is anything to be seen.
        let place =
            logs.contains { $0.hasSuffix(".log") }
            ? "what generation \(number) has written stays in \(folder)/logs"
            : "no process of generation \(number) was started"
        #expect(
            output.contains("\(place); the same migration may be begun again"),
            "\(logs): \(output)",
            sourceLocation: sourceLocation
        )
        let history = try await self.deployment.command("migrate", "history").output.split(separator: "\n").last ?? ""
        for words in reason + ["rolled-back"] {
            #expect(history.contains(words), "\(history)", sourceLocation: sourceLocation)
        }

        let after = try await self.status()
        #expect(after.generation == 1 && after.state == .ready, "\(after)", sourceLocation: sourceLocation)
        // No process of it was touched.
        #expect(after.replicas.map(\.pid) == before.0.replicas.map(\.pid), sourceLocation: sourceLocation)
        let rest = Set(self.deployment.processes).subtracting(before.1).map(SystemProcesses.command)
        #expect(rest == [] && self.processes(of: number) == [], sourceLocation: sourceLocation)
        let active = after.gateway?.backends.filter(\.isActive).map(\.generation)
        #expect(active == [1] && after.gateway?.held == 0, sourceLocation: sourceLocation)
        return ending
    }

    func status() async throws -> DeploymentStatus {
        let json = try await self.deployment.command("status", "--json").output
        return try JSONDecoder().decode(DeploymentStatus.self, from: Data(json.utf8))
    }

    /// The processes of a generation whose command line has a text.
    func processes(of generation: Int, running program: String = "") -> [Int32] {
        let name = generation == 1 ? "chat" : "chat@\(generation)"
        let marked = SystemProcesses.withEnvironment(containing: "DYNAMO_LAUNCH_REPLICA=\(name)/")
        return self.deployment.processes.filter {
            marked.contains($0) && SystemProcesses.command(of: $0).contains(program)
        }
    }
}
