import Foundation
import TestSupport

/// A real systemd that a test has booted as process 1 of namespaces of its own (`Tests/systemd_namespace.sh`).
///
/// Its network is the host's; its files are the host's with changes that go with it.
struct SystemdMachine: Sendable {
    /// As the host sees it.
    let pid: Int32
    let port: Int

    /// A command inside failed.
    struct CommandFailed: Error, CustomStringConvertible {
        let description: String
    }

    /// Runs a program inside, with an environment of nothing but the machine's PATH.
    ///
    /// - Returns: what it wrote and how it ended.
    @discardableResult
    func run(
        _ command: String...,
        within limit: Duration = .seconds(30)
    ) async throws -> (output: String, exit: ProgramExit) {
        let enter = ["--target", "\(self.pid)", "--mount", "--pid", "--cgroup", "--ipc", "--uts", "--"]
        let environment = [
            "/usr/bin/env", "--ignore-environment", "--chdir=/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
            "SYSTEMD_COLORS=0",
        ]
        let (output, exit) = try await withProgram("/usr/bin/nsenter", enter + environment + command) { program in
            try await program.waitForExit(within: limit)
            return program.output
        }
        return (output, exit)
    }

    /// Runs a program inside that must succeed.
    ///
    /// - Returns: what it wrote, without the last line end.
    @discardableResult
    func check(_ command: String...) async throws -> String { try await self.check(command) }

    /// The same with the words in a list.
    @discardableResult
    func check(_ command: [String]) async throws -> String {
        let (output, exit) = try await self.run("/bin/sh", "-c", command.map(Self.quoted).joined(separator: " "))
        guard exit == .code(0) else {
            throw CommandFailed(description: "\(command.joined(separator: " ")) ended with \(exit): \(output)")
        }
        return output.trimmingCharacters(in: .newlines)
    }

    /// A property of a unit.
    func property(_ name: String, of unit: String) async throws -> String {
        try await self.check("systemctl", "show", "--property", name, "--value", unit)
    }

    /// What a unit and systemd about it wrote to the journal.
    func journal(of unit: String) async throws -> String {
        // What was sent a moment ago may still be on its way.
        try await self.check("journalctl", "--sync")
        return try await self.check("journalctl", "--no-pager", "--output=cat", "--unit", unit)
    }

    /// Shows the programs at `/srv/programs`, which every account may enter, whatever their own place is in.
    func shareProgramsWithAll() async throws {
        try await self.check("mkdir", "-p", "/srv/programs")
        try await self.check("mount", "--bind", TestEnvironment.products.path(), "/srv/programs")
    }

    func write(_ text: String, to path: String) async throws {
        try await self.check("/bin/sh", "-c", #"mkdir -p "$(dirname "$0")" && printf %s "$1" >"$0""#, path, text)
    }

    /// Changes a unit, as an administrator would.
    func dropIn(_ lines: String..., of unit: String) async throws {
        try await self.write(
            (["[Service]"] + lines).joined(separator: "\n") + "\n",
            to: "/etc/systemd/system/\(unit).d/test.conf"
        )
    }

    /// Processes inside whose command line matches.
    func processes(_ pattern: String) async throws -> [String] {
        try await self.run("pgrep", "-f", pattern).output.split(separator: "\n").map(String.init)
    }

    private static func quoted(_ word: String) -> String { "'" + word.replacing("'", with: #"'\''"#) + "'" }
}

/// Boots a systemd, runs a body, and kills all of it.
///
/// - Parameter body: gets the machine.
/// - Throws: what the body throws, or why the machine did not come up: root and the package `systemd` are needed.
func withSystemd(_ body: (SystemdMachine) async throws -> Void) async throws {
    let script = TestEnvironment.root.appending(path: "Tests/systemd_namespace.sh").path()
    let name = "systemd-" + String(UInt64.random(in: 0...(.max)), radix: 36)
    let folder = TestEnvironment.products.appending(path: name)
    defer { try? FileManager.default.removeItem(at: folder) }
    let port = try freePort()
    _ = try await withProgram(script, [folder.path(), TestEnvironment.root.path()]) { program in
        let booting = SystemdMachine(pid: program.pid, port: port)
        do {
            try await eventually("systemd runs in its namespaces") {
                guard program.isRunning else { throw SystemdMachine.CommandFailed(description: "the namespace ended") }
                guard let pid = child(of: booting.pid) else { return false }
                let state = try await SystemdMachine(pid: pid, port: port).run("systemctl", "is-system-running").output
                return state.hasPrefix("running")
            }
        } catch {
            child(of: program.pid).map { _ = kill($0, SIGKILL) }
            throw SystemdMachine.CommandFailed(description: "\(error): \(program.output)")
        }
        guard let pid = child(of: program.pid) else { return }
        let result: Result<Void, any Error>
        do { result = .success(try await body(SystemdMachine(pid: pid, port: port))) } catch {
            result = .failure(error)
        }
        // Process 1 takes every other process of its namespace along.
        kill(pid, SIGKILL)
        try await program.waitForExit()
        try result.get()
    }
}

/// The only child of a process, once it is systemd and no longer the script.
private func child(of pid: Int32) -> Int32? {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8),
        let child = text.split(separator: " ").first.flatMap({ Int32($0) }),
        let name = try? String(contentsOfFile: "/proc/\(child)/comm", encoding: .utf8), name == "systemd\n"
    else { return nil }
    return child
}
