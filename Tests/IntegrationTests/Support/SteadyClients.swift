import Foundation
import TestSupport
import Testing

/// Clients that ask at a steady rate on connections that they keep; some of them are the OpenAI client library.
///
/// Each request's whole answer is looked at: none may be lost, cut short, or somebody else's.
struct SteadyClients {
    /// What became of their requests.
    struct Totals: Decodable {
        var requests: Int
        var streams: Int
        /// Of the clients that are not the library.
        var connections: Int
        var failures: [String]
        var phases: [Phase]
    }

    /// The requests that were begun between two moments, and how long they took, in seconds.
    struct Phase: Decodable, CustomStringConvertible {
        var requests: Int
        var streams: Int
        var seconds: Double
        var median: Double
        var p99: Double
        var longest: Double
        var streamMedian: Double
        /// Of each request.
        var times: [Double]

        var description: String {
            let times = [self.median, self.p99, self.longest].map { "\(Int(($0 * 1000).rounded())) ms" }
            return
                "\(self.requests) requests in \(Int(self.seconds.rounded())) s: median \(times[0]), p99 \(times[1]), longest \(times[2])"
        }
    }

    private let program: RunningProgram
    private var phase = 1

    private init(_ program: RunningProgram) { self.program = program }

    /// Asks for as long as the body runs.
    ///
    /// - Parameters:
    ///   - url: of the public port.
    ///   - model: one that echoes, unless it `generates`.
    ///   - count: how many clients.
    ///   - rate: requests of each client in a second.
    ///   - library: how many of them are the OpenAI library, which costs much time of a processor; nil: half of them.
    ///   - length: words that are to be echoed, or tokens that are to be generated.
    ///   - streamLength: the same of streams; nil: as `length`.
    ///   - generates: the model says what it likes, in as many tokens as it is asked for.
    ///   - hasIDs: answers have the request's identifier, as the launcher's gateway gives it.
    ///   - body: what happens meanwhile.
    /// - Returns: what became of all requests.
    /// - Throws: what the body throws, or why the clients did not run.
    static func run(
        _ url: String,
        model: String,
        count: Int = 32,
        rate: Double = 2,
        library: Int? = nil,
        length: Int = 12,
        streamLength: Int? = nil,
        generates: Bool = false,
        hasIDs: Bool = true,
        _ body: (inout SteadyClients) async throws -> Void
    ) async throws -> Totals {
        let script = TestEnvironment.root.appending(path: "Tests/Fixtures/Dynamo/steady_clients.py").path()
        var arguments = [script, url, model, "--clients", "\(count)", "--rate", "\(rate)", "--length", "\(length)"]
        if let library { arguments += ["--library", "\(library)"] }
        if let streamLength { arguments += ["--stream-length", "\(streamLength)"] }
        if generates { arguments.append("--generates") }
        if !hasIDs { arguments.append("--no-ids") }
        return try await withProgram(try TestEnvironment.python(.v121), arguments) { program in
            try await program.waitForOutput("started")
            var clients = SteadyClients(program)
            try await body(&clients)
            program.send(SIGTERM)
            try await program.waitForExit(within: .seconds(60))
            let line = try #require(program.output.split(separator: "\n").last, "\(program.output)")
            return try JSONDecoder().decode(Totals.self, from: Data(line.utf8))
        }.value
    }

    /// The same in one phase.
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
        try await self.run(url, model: model, count: count, length: tokens ?? 12, generates: tokens != nil) { _ in
            try await body()
        }
    }

    /// What ninety-nine of a hundred requests of these phases took at the most, in seconds; 0 without requests.
    static func p99(of phases: [Phase]) -> Double {
        let times = phases.flatMap(\.times).sorted()
        return times.isEmpty ? 0 : times[(times.count * 99 + 99) / 100 - 1]
    }

    /// What is begun from now on is told by itself.
    mutating func beginPhase() {
        self.program.send(SIGUSR1)
        self.phase += 1
    }

    /// Waits until so many hundreds of requests of this phase have ended.
    func waitForHundreds(_ hundreds: Int, within limit: Duration = .seconds(60)) async throws {
        try await self.program.waitForOutput("phase \(self.phase): \(hundreds * 100)\n", within: limit)
    }
}
