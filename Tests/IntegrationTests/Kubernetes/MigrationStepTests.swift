import Foundation
import TestSupport
import Testing

/// The generated `migrate.sh` with a kubectl that is a few lines of bash (`Tests/Fixtures/Kubernetes/kubectl.sh`): signals at each of
/// its steps, and two runs at once.
@Suite("Steps of migrate.sh", .timeLimit(.minutes(1)))
struct MigrationStepTests {
    private static let manifest = """
        name: chat
        model: echo
        planes: tcp
        kubernetes: {route: {gateway: edge}}
        migration: {observe: 1s, steps: [50, 100]}
        processes:
          frontend: {builtin: frontend}
          worker: {builtin: worker, args: [--engine, echo], replicas: 2}
        """

    /// A migration, and what stands for its cluster.
    private struct Place {
        let folder: URL

        var script: String { self.folder.appending(path: "migrate.sh").path() }

        func text(_ name: String) -> String {
            let text = try? String(contentsOf: self.folder.appending(path: "cluster/\(name)"), encoding: .utf8)
            return text?.trimmingCharacters(in: .whitespacesAndNewlines) ?? ""
        }

        func has(_ name: String) -> Bool {
            FileManager.default.fileExists(atPath: self.folder.appending(path: "cluster/\(name)").path())
        }

        func set(_ name: String, _ text: String = "") throws {
            try Data(text.utf8).write(to: self.folder.appending(path: "cluster/\(name)"))
        }

        /// Starts the script, and gives it to a body.
        func start(
            _ arguments: [String],
            _ environment: [String: String?] = [:],
            _ body: (RunningProgram) async throws -> Void
        ) async throws -> (value: String, exit: ProgramExit) {
            let variables = environment.merging(
                ["cluster": self.folder.appending(path: "cluster").path(), "stop_at": environment["stop_at"] ?? ""]
            ) { $1 }
            return try await withProgram(self.script, arguments + ["--yes"], environment: variables) { program in
                try await body(program)
                try await program.waitForExit()
                return program.output
            }
        }

        func run(
            _ arguments: String...,
            environment: [String: String?] = [:]
        ) async throws -> (
            value: String, exit: ProgramExit
        ) { try await self.start(arguments, environment) { _ in } }
    }

    private static func withMigration(_ body: (Place) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            let (manifest, folder) = (directory.appending(path: "chat.yaml"), directory.appending(path: "to-http"))
            try Data(self.manifest.utf8).write(to: manifest)
            let arguments = ["generate", "k8s", manifest.path(), "-o", folder.path(), "--migrate-to", "http"]
            let (output, exit) = try await Launcher.run(arguments)
            try #require(exit == .code(0), "\(output)")
            let place = Place(folder: folder)
            let kubectl = TestEnvironment.root.appending(path: "Tests/Fixtures/Kubernetes/kubectl.sh").path()
            let parts = try String(contentsOfFile: place.script, encoding: .utf8).components(
                separatedBy: "\ncommand=\n"
            )
            try #require(parts.count == 2)
            try Data("\(parts[0])\n. '\(kubectl)'\ncommand=\n\(parts[1])".utf8).write(to: URL(filePath: place.script))
            let cluster = folder.appending(path: "cluster")
            try FileManager.default.createDirectory(at: cluster, withIntermediateDirectories: true)
            for (name, text) in [
                ("at", "1\n"), ("mark", ""), ("1", ""), ("1-frontend", ""), ("gate", ""), ("weight", ""), ("calls", ""),
            ] { try place.set(name, text) }
            try await body(place)
        }
    }

    /// A signal in the middle of a command.
    struct Interruption: Sendable, CustomTestStringConvertible {
        /// What kubectl is asked for when the signal comes.
        var call: String
        var signal = "INT"
        var command = "all"
        /// How far earlier runs were: `mark`; nil: nothing was done.
        var earlier: String?
        var code: Int32
        var words: String
        /// Who has the clients afterwards.
        var at = "1"
        var mark: String

        var testDescription: String { "\(self.signal) in \(self.command) at \(self.call)" }
    }

    private static let gone = "taken back: generation 1 (tcp) serves as before; generation 2 is gone"
    private static let unfinished =
        "interrupted: generation 2 (http) serves, and generation 1 is deleted in part: there is no way back. Go on with: "

    @Test(arguments: [
        Interruption(call: "*apply*generation-2", code: 2, words: Self.gone, mark: "rolled-back"),
        Interruption(call: "rollout*", signal: "TERM", code: 2, words: Self.gone, mark: "rolled-back"),
        Interruption(call: "*service-name=g2-chat-own*", signal: "HUP", code: 2, words: Self.gone, mark: "rolled-back"),
        Interruption(call: "patch httproute*50*", code: 2, words: Self.gone, mark: "rolled-back"),
        Interruption(call: "annotate*switched", signal: "TERM", code: 2, words: Self.gone, mark: "rolled-back"),
        Interruption(call: "*switch.yaml", code: 2, words: "clients are led back", mark: "rolled-back"),
        Interruption(
            call: "get pods*generation=2*",
            command: "observe",
            earlier: "switched",
            code: 2,
            words: Self.gone,
            mark: "rolled-back"
        ),
        // The second one, while it is taken back.
        Interruption(
            call: "*rollback.yaml",
            command: "rollback",
            earlier: "switched",
            code: 0,
            words: "generation 1 (tcp) serves; generation 2 is gone",
            mark: "rolled-back"
        ),
        Interruption(
            call: "*annotations*",
            command: "rollback",
            earlier: "switched",
            code: 130,
            words: "interrupted; this run has changed nothing",
            at: "2",
            mark: "switched"
        ),
        Interruption(
            call: "*selector*",
            signal: "TERM",
            command: "status",
            code: 143,
            words: "changed nothing",
            mark: ""
        ),
        Interruption(
            call: "*service-name=chat *",
            command: "finish",
            earlier: "switched",
            code: 130,
            words: "generation 1 is kept",
            at: "2",
            mark: "switched"
        ),
        Interruption(
            call: "annotate*retiring",
            command: "finish",
            earlier: "switched",
            code: 130,
            words: "generation 1 is kept",
            at: "2",
            mark: "switched"
        ),
        Interruption(
            call: "delete*",
            signal: "TERM",
            command: "finish",
            earlier: "switched",
            code: 143,
            words: Self.unfinished,
            at: "2",
            mark: "retiring"
        ),
        // An earlier 'finish' was killed: there is nothing to go back to.
        Interruption(
            call: "*selector*",
            command: "finish",
            earlier: "retiring",
            code: 130,
            words: Self.unfinished,
            at: "2",
            mark: "retiring"
        ),
        Interruption(
            call: "*service-name=chat *",
            command: "all",
            earlier: "retiring",
            code: 130,
            words: Self.unfinished,
            at: "2",
            mark: "retiring"
        ),
    ])
    func `an interrupted run says how it stands and what to do`(_ interruption: Interruption) async throws {
        try await Self.withMigration { place in
            if let earlier = interruption.earlier {
                try place.set("at", "2\n")
                try place.set("mark", "1-to-2.\(earlier)\n")
                for name in ["2", "2-frontend"] { try place.set(name) }
                try place.set("weight", "g2-chat-own=100\n")
            }
            let (output, exit) = try await place.run(
                interruption.command,
                environment: ["stop_at": interruption.call, "stop_with": interruption.signal]
            )
            #expect(place.has("stopped"), "no such call: \(place.text("calls"))")
            #expect(exit == .code(interruption.code), "\(output)")
            #expect(output.contains(interruption.words), "\(output)")
            #expect(place.text("at") == interruption.at, "\(output)")
            #expect(place.text("mark") == (interruption.mark.isEmpty ? "" : "1-to-2.\(interruption.mark)"), "\(output)")
            if interruption.mark == "rolled-back" {
                #expect(!place.has("2") && !place.has("2-frontend"), "\(output)")
                #expect(["", "g2-chat-own=0"].contains(place.text("weight")), "\(output)")
            }
            // Nobody is kept from the next run.
            #expect(place.text("lease").isEmpty || place.text("lease").contains("||"), "\(place.text("lease"))")
        }
    }

    @Test func `what people are needed for ends with 3, and says who has the clients`() async throws {
        try await Self.withMigration { place in
            try place.set("at", "2\n")
            try place.set("mark", "1-to-2.switched\n")
            try place.set("2-frontend")
            try FileManager.default.removeItem(at: place.folder.appending(path: "cluster/1-frontend"))
            let (output, exit) = try await place.run("rollback")
            #expect(exit == .code(3), "\(output)")
            #expect(
                output.contains("no frontend of generation 1 is ready. Start generation 1, then repeat:"),
                "\(output)"
            )
            #expect(
                output.contains("clients are with generation 2. Both generations are left as they are"),
                "\(output)"
            )
            #expect(place.text("at") == "2" && place.has("2-frontend"))
        }
    }

    @Test func `nobody who listens is no reason to stop half way`() async throws {
        try await Self.withMigration { place in
            let script = "set -o pipefail; '\(place.script)' all --yes 2>&1 | head -n 1"
            let (output, exit) = try await withProgram(
                "/bin/bash",
                ["-c", script],
                environment: ["cluster": place.folder.appending(path: "cluster").path(), "stop_at": ""]
            ) { program in
                try await program.waitForExit()
                return program.output
            }
            #expect(exit == .code(0), "\(output)")
            #expect(place.text("at") == "2" && place.text("mark") == "1-to-2.switched", "\(place.text("mark"))")
        }
    }

    // MARK: Two runs at once

    private static func asks(_ place: Place) async throws {
        try await eventually(within: .seconds(10), "the run asks generation 2") { place.has("asked") }
    }

    @Test func `of two runs one is refused with words, and a killed one is none`() async throws {
        try await Self.withMigration { place in
            try FileManager.default.removeItem(at: place.folder.appending(path: "cluster/gate"))
            let (_, killed) = try await place.start(["all"]) { first in
                try await Self.asks(place)
                let calls = place.text("calls")
                let (output, exit) = try await place.run("rollback")
                #expect(exit == .code(1), "\(output)")
                #expect(output.contains("('all', process \(first.pid), since 2026-01-01T00:00:00)"), "\(output)")
                #expect(output.contains("Nothing was done. Wait until it has ended"), "\(output)")
                #expect(place.text("calls") == calls && place.has("2"))
                let (status, _) = try await place.run("status")
                #expect(status.contains("a run has the lock: ") && !status.contains("without a word"), "\(status)")
                first.send(SIGKILL)
            }
            #expect(killed == .signal(SIGKILL))
            #expect(place.text("lease").contains("/all/"))
            try place.set("gate")
            let clock = ContinuousClock()
            let began = clock.now
            let (output, exit) = try await place.run("rollback")
            #expect(exit == .code(0) && output.contains("an earlier run ended without a word"), "\(output)")
            #expect(clock.now - began < .seconds(4), "it did not wait for the lock to become old")
            #expect(!place.has("2") && place.text("lease").contains("||"))
        }
    }

    @Test func `a lock is taken over, and whoever had it changes nothing more`() async throws {
        try await Self.withMigration { place in
            try FileManager.default.removeItem(at: place.folder.appending(path: "cluster/gate"))
            let (first, exit) = try await place.start(["all"]) { _ in
                try await Self.asks(place)
                let (output, exit) = try await place.run("rollback", "--take-over")
                #expect(exit == .code(0) && output.contains("the lock is taken from "), "\(output)")
                #expect(!place.has("2"), "\(output)")
            }
            #expect(exit == .code(3), "\(first)")
            #expect(first.contains("this run stops where it is, and changes nothing more"), "\(first)")
            #expect(place.text("at") == "1" && place.text("mark") == "1-to-2.rolled-back")
        }
    }

    @Test func `a lock that may not be changed is said before anything is done`() async throws {
        try await Self.withMigration { place in
            try place.set("forbidden")
            let (made, exit) = try await place.run("apply")
            #expect(exit == .code(1), "\(made)")
            #expect(
                made.contains("was made and cannot be renewed: Error from server (Forbidden): no leases"),
                "\(made)"
            )
            // Left behind by a run that has ended.
            try place.set("lease", "7||\n")
            let (left, next) = try await place.run("apply")
            #expect(next == .code(1), "\(left)")
            #expect(left.contains("cannot be taken: Error from server (Forbidden): no leases"), "\(left)")
            #expect(place.text("calls") == "", "nothing was changed")
        }
    }

    @Test func `a run that slept while another one took over finds it before it changes anything`() async throws {
        try await Self.withMigration { place in
            try FileManager.default.removeItem(at: place.folder.appending(path: "cluster/gate"))
            let (first, exit) = try await place.start(["all"]) { program in
                try await Self.asks(place)
                // As if it ran on another machine.
                let lease = place.text("lease").split(separator: "|", omittingEmptySubsequences: false)
                let holder = "bob@far/all/1/x/0"
                try place.set("lease", "\(lease[0])|\(holder)|\(lease[2])\n")
                program.send(SIGSTOP)
                let (output, exit) = try await place.run("status")
                #expect(
                    exit == .code(0) && output.contains("a run has the lock: bob@far ('all', process 1"),
                    "\(output)"
                )
                // Longer than a run goes on without having renewed its lock.
                let file = place.folder.appending(path: "cluster/lease").path()
                try await eventually(within: .seconds(10), "it was not renewed for 3 s") {
                    let written = try FileManager.default.attributesOfItem(atPath: file)[.modificationDate] as? Date
                    return written.map { Date.now.timeIntervalSince($0) > 3 } ?? false
                }
                try place.set("gate")
                program.send(SIGCONT)
            }
            #expect(exit == .code(3), "\(first)")
            #expect(first.contains("the lock was taken by bob@far ('all', process 1"), "\(first)")
            #expect(place.text("at") == "1" && place.text("mark") == "1-to-2.applied", "\(first)")
            // Nobody renews it.
            let (output, next) = try await place.run("rollback")
            #expect(next == .code(0) && output.contains("it is not: the lock was not renewed for 4 s"), "\(output)")
        }
    }
}
