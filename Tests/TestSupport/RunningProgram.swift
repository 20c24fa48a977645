package import Foundation
import Subprocess
import Synchronization
import SystemPackage

/// A program that a test has started, with its output in a file.
package struct RunningProgram: Sendable {
    package let pid: Int32
    package let outputFile: URL

    /// Everything the program has written so far, both streams.
    package var output: String {
        (try? Data(contentsOf: self.outputFile)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// Sends a signal.
    package func send(_ signal: Int32) { kill(self.pid, signal) }

    /// Whether the program has not been reaped and is no zombie.
    package var isRunning: Bool { SystemProcesses.isRunning(self.pid) }

    /// Waits until the output contains a text.
    ///
    /// - Parameters:
    ///   - text: what to wait for.
    ///   - limit: how long.
    /// - Throws: `OutputMissing` with the whole output when it does not come, also when the program ends first.
    package func waitForOutput(_ text: String, within limit: Duration = .seconds(30)) async throws {
        let deadline = ContinuousClock.now + limit
        while !self.output.contains(text) {
            let ended = !self.isRunning
            if ended, self.output.contains(text) { return }
            guard !ended, ContinuousClock.now < deadline else {
                throw OutputMissing(text: text, ended: ended, output: self.output)
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Waits until the program has ended.
    ///
    /// - Parameter limit: how long.
    /// - Throws: `ConditionNotMet` when it goes on.
    package func waitForExit(within limit: Duration = .seconds(30)) async throws {
        try await eventually(within: limit, "process \(self.pid) ends; output so far:\n\(self.output)") {
            !self.isRunning
        }
    }
}

/// A program did not print what a test waits for.
package struct OutputMissing: Error, CustomStringConvertible {
    package let text: String
    package let ended: Bool
    package let output: String
    package var description: String {
        "the output never contained '\(self.text)'\(self.ended ? ", and the program ended" : ""):\n\(self.output)"
    }

    package init(text: String, ended: Bool, output: String) {
        self.text = text
        self.ended = ended
        self.output = output
    }
}

/// How a program ended.
package enum ProgramExit: Sendable, Hashable {
    case code(Int32)
    case signal(Int32)
}

/// Starts a program, gives it to a body, and makes sure that it is gone afterwards.
///
/// - Parameters:
///   - program: its path.
///   - arguments: argv without the name.
///   - environment: changes to this process's environment; nil removes a variable.
///   - workingDirectory: where it runs.
///   - body: the test; when it returns, a program that still runs gets SIGTERM, and SIGKILL after 20 s.
/// - Returns: the value of the body and how the program ended.
/// - Throws: what the body throws, or an error of starting.
package func withProgram<Value: Sendable>(
    _ program: String,
    _ arguments: [String] = [],
    environment: [String: String?] = [:],
    workingDirectory: String? = nil,
    _ body: (RunningProgram) async throws -> Value
) async throws -> (value: Value, exit: ProgramExit) {
    let outputFile = URL(filePath: "/tmp/dl-out-\(String(UInt64.random(in: 0...(.max)), radix: 36))")
    defer { try? FileManager.default.removeItem(at: outputFile) }
    let descriptor = try FileDescriptor.open(
        FilePath(outputFile.path()),
        .writeOnly,
        options: [.create, .append, .closeOnExec],
        permissions: [.ownerReadWrite]
    )
    var variables: [Subprocess.Environment.Key: String?] = [:]
    for (name, value) in environment { variables[.init(stringLiteral: name)] = value }
    let result = try await run(
        .path(FilePath(program)),
        arguments: Arguments(arguments),
        environment: .inherit.updating(variables),
        workingDirectory: workingDirectory.map { FilePath($0) },
        input: .none,
        output: .fileDescriptor(descriptor, closeAfterSpawningProcess: true),
        error: .combinedWithOutput
    ) { execution -> Result<Value, any Error> in
        let running = RunningProgram(pid: execution.processIdentifier.value, outputFile: outputFile)
        let value: Result<Value, any Error>
        do { value = .success(try await body(running)) } catch { value = .failure(error) }
        if running.isRunning {
            running.send(SIGTERM)
            do { try await running.waitForExit(within: .seconds(20)) } catch { running.send(SIGKILL) }
        }
        return value
    }
    let exit: ProgramExit =
        switch result.terminationStatus {
        case .exited(let code): .code(code)
        case .signaled(let signal): .signal(signal)
        }
    return (try result.closureResult.get(), exit)
}
