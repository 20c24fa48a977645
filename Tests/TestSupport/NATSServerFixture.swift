package import Foundation

/// A NATS server that a test has started on loopback.
package struct NATSServerFixture: Sendable {
    package let port: Int
    package let process: RunningProgram

    package var url: String { "nats://127.0.0.1:\(self.port)" }

    /// Runs a server for as long as the body runs.
    ///
    /// - Parameters:
    ///   - port: where it listens; nil takes a free one.
    ///   - configuration: lines of the server's configuration file, beside the address.
    ///   - body: gets the server when it accepts connections.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, `TestEnvironment.Missing` without a server program, or that the server did not start.
    package static func run<Value: Sendable>(
        port: Int? = nil,
        configuration: String = "",
        _ body: (NATSServerFixture) async throws -> Value
    ) async throws -> Value {
        let program = try Self.program()
        let port = try port ?? freePort()
        return try await withTemporaryDirectory { directory in
            let file = directory.appending(path: "nats.conf")
            try Data("listen: \"127.0.0.1:\(port)\"\n\(configuration)\n".utf8).write(to: file)
            return try await withProgram(program, ["-c", file.path()]) { running in
                try await running.waitForOutput("Server is ready")
                return try await body(NATSServerFixture(port: port, process: running))
            }.value
        }
    }

    /// Lines of a configuration file that switch JetStream on.
    ///
    /// A server that is started again with the same folder has the streams of the one before.
    ///
    /// - Parameter directory: where streams are stored.
    /// - Returns: what `run` takes as configuration.
    package static func jetStream(in directory: URL) -> String {
        "jetstream { store_dir: \"\(directory.path())\" }"
    }

    /// The server's program on PATH.
    ///
    /// - Returns: its path.
    /// - Throws: `TestEnvironment.Missing` when there is none.
    package static func program() throws -> String {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        for folder in path.split(separator: ":") {
            let candidate = "\(folder)/nats-server"
            if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
        }
        throw TestEnvironment.Missing(
            description: "nats-server is not on PATH: start the tests with Tests/run.sh, which installs it"
        )
    }
}
