import Foundation
import TestSupport
import Testing

/// What a service manager says to the launcher is not for the programs that it starts.
@Suite struct ManagerVariableTests {
    @Test func `an interpreter that is asked for its release does not hear the service manager`() async throws {
        try await withTemporaryDirectory { directory in
            let python = directory.appending(path: "python")
            let seen = directory.appending(path: "seen").path()
            try Data("#!/bin/sh\nenv >\(seen)\necho 1.2.1\n".utf8).write(to: python)
            chmod(python.path(), 0o755)
            let manifest = """
                name: asked
                dynamo: {python: \(python.path())}
                processes:
                  frontend: {module: dynamo.frontend}
                  worker: {module: dynamo.mocker, args: [--model-path, /nowhere]}

                """
            let path = directory.appending(path: "asked.yaml").path()
            try Data(manifest.utf8).write(to: URL(filePath: path))
            let variables = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM"]
            let (output, exit) = try await Launcher.run(
                ["plan", path],
                environment: Dictionary(uniqueKeysWithValues: variables.map { ($0, "1") })
            )
            #expect(exit == .code(0) && output.contains("1.2.1"), "\(output)")
            let environment = try String(contentsOfFile: seen, encoding: .utf8)
            #expect(environment.contains("PATH="))
            for name in variables { #expect(!environment.contains("\(name)="), "\(environment)") }
        }
    }
}
