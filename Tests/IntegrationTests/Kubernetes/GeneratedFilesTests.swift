import Foundation
import TestSupport
import Testing

/// What `generate k8s` writes, and when it does not.
@Suite("Files of generate k8s", .timeLimit(.minutes(1)))
struct GeneratedFilesTests {
    private static let manifest = """
        name: chat
        model: echo
        processes:
          frontend: {builtin: frontend}
          worker: {builtin: worker, args: [--engine, echo], restart: {maxRestarts: 3}}
        """

    private static func write(_ text: String, _ directory: URL) throws -> String {
        let file = directory.appending(path: "chat.yaml")
        try text.write(to: file, atomically: true, encoding: .utf8)
        return file.path()
    }

    private static func names(_ folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
    }

    @Test func `a migration says what is lost, and is not written when nothing may be`() async throws {
        try await withTemporaryDirectory { directory in
            let file = try Self.write(Self.manifest, directory)
            let folder = directory.appending(path: "out").path()
            let arguments = ["generate", "k8s", file, "--migrate-to", "http", "-o", folder]
            let (strict, refused) = try await Launcher.run(arguments + ["--strict"])
            #expect(refused == .code(1), "\(strict)")
            #expect(strict.contains("chat.yaml:5:63: lost: processes.worker.restart.maxRestarts"), "\(strict)")
            #expect(strict.contains("nothing was written, because of --strict"))
            #expect(Self.names(folder) == [])
            let (report, done) = try await Launcher.run(arguments + ["--report"])
            #expect(done == .code(0), "\(report)")
            #expect(report.contains("chat.yaml:1:1: kept: name") && report.contains("lost: processes.worker.restart"))
            #expect(Self.names(folder).contains("migrate.sh"))
        }
    }

    @Test func `a generation and a migration do not remove each other's files`() async throws {
        try await withTemporaryDirectory { directory in
            let file = try Self.write(Self.manifest, directory)
            let (one, two) = (directory.appending(path: "one").path(), directory.appending(path: "two").path())
            let plain = ["generate", "k8s", file, "-o"]
            let migration = ["generate", "k8s", file, "--migrate-to", "http", "-o"]
            for arguments in [plain + [one], migration + [two], plain + [one], migration + [two]] {
                let (output, exit) = try await Launcher.run(arguments)
                #expect(exit == .code(0), "\(output)")
            }
            let before = [Self.names(one), Self.names(two)]
            for (arguments, words) in [
                (migration + [one], "has the objects of a generation"), (plain + [two], "has a migration"),
            ] {
                let (output, exit) = try await Launcher.run(arguments)
                #expect(exit == .code(1) && output.contains(words), "\(output)")
            }
            #expect([Self.names(one), Self.names(two)] == before)
        }
    }

    @Test func `what is no folder is said to be none`() async throws {
        try await withTemporaryDirectory { directory in
            let file = try Self.write(Self.manifest, directory)
            for (output, words) in [
                (file, "'\(file)' is a file, and objects are written into a folder"), ("", "--output is empty"),
            ] {
                for more in [[], ["--migrate-to", "http"]] {
                    let (text, exit) = try await Launcher.run(["generate", "k8s", file, "-o", output] + more)
                    #expect(exit != .code(0) && text.contains(words), "\(text)")
                }
            }
            #expect(try String(contentsOfFile: file, encoding: .utf8) == Self.manifest)
        }
    }

    @Test func `an error in the manifest says that nothing was written`() async throws {
        try await withTemporaryDirectory { directory in
            let file = try Self.write(Self.manifest + "\nnames: x\n", directory)
            let (output, exit) = try await Launcher.run(["generate", "k8s", file])
            #expect(exit == .code(1) && output.contains("1 error; nothing was written"), "\(output)")
            #expect(!output.contains("started"))
        }
    }
}
