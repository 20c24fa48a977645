import Foundation
import TestSupport
import Testing

/// Clients that ask at a steady rate on connections that they keep; half of them are the OpenAI client library.
enum SteadyClients {
    /// What became of their requests.
    struct Totals: Decodable {
        var requests: Int
        var streams: Int
        /// Of the clients that are not the library.
        var connections: Int
        var failures: [String]
    }

    /// Asks for as long as the body runs.
    ///
    /// - Parameters:
    ///   - url: of the public port.
    ///   - model: one that echoes, unless `tokens` is given.
    ///   - count: how many clients.
    ///   - tokens: how long answers are of a model that says what it likes.
    ///   - body: what happens meanwhile.
    /// - Returns: what became of all requests.
    /// - Throws: what the body throws, or why the clients did not run.
    static func run(
        _ url: String,
        model: String,
        count: Int = 32,
        tokens: Int? = nil,
        _ body: () async throws -> Void
    ) async throws -> Totals {
        let script = TestEnvironment.root.appending(path: "Tests/Fixtures/Dynamo/steady_clients.py").path()
        let arguments = [script, url, model, "\(count)", "2"] + (tokens.map { ["\($0)"] } ?? [])
        return try await withProgram(try TestEnvironment.python(.v121), arguments) { clients in
            try await clients.waitForOutput("started")
            try await body()
            clients.send(SIGTERM)
            try await clients.waitForExit(within: .seconds(60))
            let line = try #require(clients.output.split(separator: "\n").last, "\(clients.output)")
            return try JSONDecoder().decode(Totals.self, from: Data(line.utf8))
        }.value
    }
}
