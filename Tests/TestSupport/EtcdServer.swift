package import Foundation

/// Starts etcd on free ports, gives its URL to a body, and stops it.
///
/// - Parameter body: the test.
/// - Throws: what the body throws, or an error of starting.
package func withEtcd(_ body: (String) async throws -> Void) async throws {
    try await withTemporaryDirectory { directory in
        let server = try EtcdServer(directory: directory)
        try await server.run { try await body(server.url) }
    }
}

/// A member that can run several times, with the same data and at the same address.
package struct EtcdServer: Sendable {
    /// etcd did not do what it was told.
    package struct Refused: Error, CustomStringConvertible {
        package let description: String
    }

    package let directory: URL
    package let url: String
    private let peerURL: String
    private let options: [String]
    private let secure: Bool

    /// Creates a member on free ports.
    ///
    /// - Parameters:
    ///   - directory: where its data is.
    ///   - secure: whether it speaks TLS to its clients.
    ///   - options: further arguments.
    /// - Throws: `NoFreePort`.
    package init(directory: URL, secure: Bool = false, options: [String] = []) throws {
        self.directory = directory
        self.url = "\(secure ? "https" : "http")://127.0.0.1:\(try freePort())"
        self.peerURL = "http://127.0.0.1:\(try freePort())"
        self.options = options
        self.secure = secure
    }

    /// Where its data is; may be deleted between two runs.
    package var data: URL { self.directory.appending(path: "data") }

    /// Runs it while a body does.
    ///
    /// - Parameter body: called once it answers.
    /// - Throws: what the body throws, or an error of starting.
    package func run(_ body: () async throws -> Void) async throws {
        let arguments = [
            "--data-dir", self.data.path, "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
            "--listen-peer-urls", self.peerURL, "--initial-advertise-peer-urls", self.peerURL, "--initial-cluster",
            "default=\(self.peerURL)", "--log-level", "error",
        ]
        _ = try await withProgram("/usr/bin/etcd", arguments + self.options) { program in
            let port = Int(self.url.split(separator: ":").last ?? "") ?? 0
            // It writes to its disk before it answers, and a busy disk takes its time.
            try await eventually(within: .seconds(30), "etcd answers") {
                guard program.isRunning else { throw Refused(description: "etcd has ended: \(program.output)") }
                if self.secure { return SystemProcesses.isListening(port: port) }
                return (try? await HTTPRequests.get(self.url + "/health", limit: 1))?.status == 200
            }
            try await body()
        }
    }

    /// Calls the gateway, as `etcdctl` would.
    ///
    /// - Parameters:
    ///   - path: of the call.
    ///   - json: its request.
    /// - Throws: `Refused` when etcd does not do it.
    package func call(_ path: String, _ json: String) async throws {
        let reply = try await HTTPRequests.post(self.url + path, json: json)
        guard reply.status == 200 else { throw Refused(description: "\(path): \(reply.text)") }
    }
}
