import Deployment
import Foundation
import Glibc
import Rollout
import Supervisor
import TestSupport
import Testing

/// What a launcher remembers of migrations from one start to the next, and what it does when it cannot.
@Suite("What is remembered of migrations", .serialized, .timeLimit(.minutes(5)))
struct MigrationMemoryTests {
    private static func manifest(_ name: String, worker: String = "", end: String = "") -> String {
        """
        name: \(name)
        model: echo
        processes:
          frontend: {builtin: frontend, stop: {grace: 2s}}
          worker: {builtin: worker, stop: {grace: 2s}\(worker)}
        migration: {steps: [100], observe: 0s, rollbackWindow: 0s}
        \(end)
        """
    }

    /// Starts `up` with what is on the disk, and ends it after a body.
    private static func up(
        _ deployment: KilledDeployment,
        _ arguments: String...,
        says words: String?,
        generation: Int,
        _ plane: String,
        killed isKilled: Bool = false,
        _ body: (RunningProgram) async throws -> Void = { _ in }
    ) async throws {
        try await deployment.up(arguments) { program in
            try await program.waitForOutput("ready in ")
            if let words {
                #expect(program.output.contains(words), "\(program.output)")
            } else {
                #expect(!program.output.contains("note: "), "\(program.output)")
            }
            let status = try await deployment.client.status()
            #expect(status.generation == generation && status.planes.request.rawValue == plane)
            try await deployment.expectAnswer()
            try await body(program)
            program.send(isKilled ? SIGKILL : SIGTERM)
            try await program.waitForExit()
        }
        try await deployment.waitUntilGone()
    }

    private static func migrate(_ deployment: KilledDeployment, to plane: String) async throws {
        let (output, exit) = try await deployment.command("migrate", "--to", plane)
        #expect(exit == .code(0), "\(output)")
    }

    @Test func `a start with something else than before the migration is obeyed, and says so`() async throws {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment("else", in: directory, manifest: Self.manifest("else"))
            try await Self.up(deployment, says: nil, generation: 1, "tcp") { _ in
                try await Self.migrate(deployment, to: "http")
            }
            try await Self.up(
                deployment,
                says: "note: the deployment was migrated to 2 (http), and starts as that",
                generation: 2,
                "http"
            )
            try deployment.write(Self.manifest("else", end: "# edited"))
            try await Self.up(
                deployment,
                says:
                    "note: the manifest changed since the migration to 2 (http): the deployment starts as `up` says now, and the "
                    + "migration is forgotten",
                generation: 1,
                "tcp"
            ) { _ in try await Self.migrate(deployment, to: "http") }
            try await Self.up(
                deployment,
                "--set",
                "processes.worker.replicas=1",
                says: "note: what is given with --set changed since the migration to 3 (http)",
                generation: 1,
                "tcp"
            )
            // It is forgotten, not set aside.
            try await Self.up(deployment, says: nil, generation: 1, "tcp") { _ in
                try await Self.migrate(deployment, to: "http")
            }
            try await Self.up(
                deployment,
                "--set",
                "planes.request=http",
                says: "note: what is given with --set changed since the migration to 4 (http)",
                generation: 1,
                "http"
            )
        }
    }

    @Test func `what is applied after a migration is the current generation's, and remembered`() async throws {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment("applied", in: directory, manifest: Self.manifest("applied"))
            let two = Self.manifest("applied", worker: ", replicas: 2")
            let remembered = "note: the deployment was migrated to 2 (http), and starts as that"
            try await Self.up(deployment, says: nil, generation: 1, "tcp") { _ in
                try await Self.migrate(deployment, to: "http")
                try deployment.write(two)
                // Reading it is not applying it.
                #expect(try await deployment.command("apply", "--dry-run").output.contains("add     worker-1"))
                let (output, exit) = try await deployment.command("apply")
                #expect(exit == .code(0), "\(output)")
                #expect(deployment.replicas == ["frontend", "worker", "worker-1"].map { "applied@2/\($0)" })
            }
            try await Self.up(deployment, says: remembered, generation: 2, "http", killed: true) { _ in
                #expect(deployment.replicas == ["frontend", "worker-0", "worker-1"].map { "applied@2/\($0)" })
                // Nothing that runs changes by it.
                try deployment.write(two + "# a remark\n")
                let (output, exit) = try await deployment.command("apply")
                #expect(exit == .code(0) && output.contains("nothing to change"), "\(output)")
            }
            try await Self.up(deployment, says: remembered, generation: 2, "http") { _ in
                try deployment.write(two + "# only looked at\n")
                #expect(try await deployment.command("apply", "--dry-run").exit == .code(0))
            }
            try await Self.up(
                deployment,
                says: "the manifest changed since the migration to 2 (http)",
                generation: 1,
                "tcp"
            )
        }
    }

    @Test func `a migration reads the manifest anew, and what it has read is what up means from then on`() async throws
    {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment("read", in: directory, manifest: Self.manifest("read"))
            try await Self.up(deployment, says: nil, generation: 1, "tcp") { _ in
                try deployment.write(Self.manifest("read", worker: ", replicas: 2"))
                try await Self.migrate(deployment, to: "http")
                #expect(deployment.replicas == ["frontend", "worker-0", "worker-1"].map { "read@2/\($0)" })
            }
            try await Self.up(
                deployment,
                says: "note: the deployment was migrated to 2 (http), and starts as that",
                generation: 2,
                "http"
            ) { _ in
                #expect(deployment.replicas == ["frontend", "worker-0", "worker-1"].map { "read@2/\($0)" })
                // Back on the plane of the manifest; the second of two.
                try await Self.migrate(deployment, to: "tcp")
            }
            try await Self.up(
                deployment,
                says: "note: the deployment was migrated to 3 (tcp), and starts as that",
                generation: 3,
                "tcp"
            )
        }
    }

    @Test func `a journal that cannot be used is said, with what to do`() async throws {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment("spoilt", in: directory, manifest: Self.manifest("spoilt"))
            try await Self.up(deployment, says: nil, generation: 1, "tcp") { _ in
                try await Self.migrate(deployment, to: "http")
            }
            let journal = URL(filePath: "\(deployment.state)/\(MigrationJournal.fileName)")
            let whole = try Data(contentsOf: journal)
            let end = try #require(whole.firstIndex(of: UInt8(ascii: "\n")))
            func fails(_ words: String) async throws {
                let (output, exit) = try await Launcher.run(
                    ["up"] + deployment.arguments,
                    environment: deployment.environment
                )
                #expect(exit == .code(1))
                #expect(output == "error: the migration journal \(journal.path()): \(words); nothing was started\n")
            }
            let remedy =
                "move the file away to start the deployment as its manifest says (what it was migrated to is forgotten then), or "
                + "put a whole copy of it in place"
            try (whole[...end] + Data("rubbish\n".utf8) + whole[(end + 1)...]).write(to: journal)
            try await fails("line 2 cannot be used: it is not JSON; \(remedy)")
            try whole[(end + 1)...].write(to: journal)
            try await fails("line 1 cannot be used: a step of migration 1, which is not under way; \(remedy)")
            try Data((String(decoding: whole, as: UTF8.self) + "{\"kind\":\"later\",\"time\":\"\"}\n").utf8).write(
                to: journal
            )
            try await fails(
                "line 11 cannot be used: a record of the kind 'later' is not known to this version of dynamo-launch; use the later "
                    + "version that wrote it; \(remedy)"
            )
            try FileManager.default.removeItem(at: journal)
            try FileManager.default.createDirectory(at: journal, withIntermediateDirectories: false)
            try await fails("cannot be opened: Is a directory")
            try FileManager.default.removeItem(at: journal)
            // The advice is right.
            try await Self.up(deployment, says: nil, generation: 1, "tcp")
            try whole.write(to: journal)
            try await Self.up(
                deployment,
                says: "note: the deployment was migrated to 2 (http), and starts as that",
                generation: 2,
                "http"
            )
        }
    }

    @Test func `a disk that is full takes a migration back, and says what to do; with room again the next one works`()
        async throws
    {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment("full", in: directory, manifest: Self.manifest("full"))
            let state = directory.appending(path: "state")
            try FileManager.default.createDirectory(at: state, withIntermediateDirectories: true)
            // In a mount namespace of its own; through the launcher's eyes the test sees it too.
            let script = "mount -t tmpfs -o size=1m tmpfs \"$XDG_STATE_HOME\" && exec \"$0\" up \"$1\""
            let environment = deployment.environment.merging(["XDG_STATE_HOME": state.path()]) { $1 }
            _ = try await withProgram(
                "/usr/bin/env",
                ["unshare", "-rm", "/bin/sh", "-c", script, Launcher.path, deployment.manifest.path()],
                environment: environment
            ) { program in
                try await program.waitForOutput("ready in ")
                let inside = "/proc/\(program.pid)/root\(state.path())"
                let folder = "\(inside)/dynamo-launch/full"
                let ballast = "\(inside)/ballast"
                try Self.fill(ballast)
                let (output, exit) = try await Launcher.run(["migrate", "--to", "http"], environment: environment)
                #expect(exit == .code(1), "\(output)")
                let words =
                    "the journal cannot be written: the migration journal \(state.path())/dynamo-launch/full/migrations.journal: "
                    + "cannot be written: No space left on device; make room on its file system"
                #expect(output.contains(words), "\(output)")
                #expect(try MigrationJournal.history(folder: folder) == MigrationHistory())
                #expect(deployment.replicas(under: state) == deployment.replicas(of: 1))
                try await deployment.expectAnswer("full")

                try FileManager.default.removeItem(atPath: ballast)
                let client = deployment.client
                // Many stages: their records need more than what is left of the file's last block.
                let request = MigrationRequest(requestPlane: "http", steps: Array(1...100), observe: 0, confirm: true)
                try await client.migrate(request) { $0.step != .confirming }
                try Self.fill(ballast)
                let promoted = try await client.migration(.promote)
                #expect(promoted.reason == nil)
                try await eventually(within: .seconds(20), "it is taken back") {
                    try await client.migration().step.isEnd
                }
                let status = try await client.migration()
                #expect(
                    status.step == .rolledBack && status.reason?.contains("No space left on device") == true,
                    "\(status)"
                )
                #expect(deployment.replicas(under: state) == deployment.replicas(of: 1))
                try await deployment.expectAnswer("full in mid-migration")

                try FileManager.default.removeItem(atPath: ballast)
                try await eventually("its end is written") {
                    try MigrationJournal.history(folder: folder).unfinished == nil
                }
                #expect(try MigrationJournal.history(folder: folder).records.map(\.step) == [.rolledBack])
                let again = try await Launcher.run(["migrate", "--to", "http"], environment: environment)
                #expect(again.exit == .code(0), "\(again.output)")
                #expect(try MigrationJournal.history(folder: folder).records.map(\.step) == [.rolledBack, .done])
                #expect(deployment.replicas(under: state) == deployment.replicas(of: 3))
                try await deployment.expectAnswer("room")
                program.send(SIGTERM)
                try await program.waitForExit()
            }
        }
    }

    /// Writes until the disk is full.
    private static func fill(_ path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        defer { close(descriptor) }
        let block = [UInt8](repeating: 0, count: 4096)
        while write(descriptor, block, block.count) == block.count {}
        #expect(errno == ENOSPC)
    }
}
