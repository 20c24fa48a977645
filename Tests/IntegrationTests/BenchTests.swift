import Foundation
import TestSupport
import Testing

/// `dynamo-launch bench` against real deployments.
@Suite(.serialized) struct BenchTests {
    private struct Report: Decodable {
        struct Target: Decodable {
            var label: String
            var completed: Int
            var failures: [String: Int]
            var figures: [String: Double]
            var ratios: [String: Double]
            var processorMillisecondsPerRequest: [String: Double]
        }
        var targets: [Target]
    }

    private static let load = ["--requests", "40", "--concurrency", "8", "--tokens", "8", "--rounds", "2"]

    private func report(_ output: String) throws -> Report {
        try JSONDecoder().decode(Report.self, from: Data(output.utf8))
    }

    @Test func `a deployment is measured, through its frontend and past it, and compared with a URL`() async throws {
        _ = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            let chart = deployment.directory.appending(path: "chart.svg")
            let text = try await Launcher.run(
                ["bench", "--chart", chart.path()] + Self.load,
                environment: deployment.environment
            )
            #expect(text.exit == .code(0), "\(text.output)")
            #expect(text.output.contains("requests"), "\(text.output)")
            #expect(text.output.contains("CPU per request, worker"), "\(text.output)")
            let picture = try String(contentsOf: chart, encoding: .utf8)
            #expect(picture.hasPrefix("<svg "))

            let compared = try await Launcher.run(
                ["bench", "embedded", "--against", deployment.url, "--json"] + Self.load,
                environment: deployment.environment
            )
            let report = try self.report(compared.output)
            #expect(report.targets.map(\.label) == ["embedded", deployment.url])
            #expect(report.targets.map(\.completed) == [80, 80])
            #expect(report.targets.map(\.failures) == [[:], [:]])
            #expect((report.targets[1].ratios["requests (1/s)"] ?? 0) > 0)
            let figures = report.targets[0].figures
            let ratio = (figures["tokens (1/s)"] ?? 0) / (figures["requests (1/s)"] ?? 1)
            #expect(abs(ratio - 8) < 0.01, "every answer has the tokens that were asked for: \(figures)")

            let endpoint = try await Launcher.run(
                ["bench", "--endpoint", "backend.generate", "--json"] + Self.load,
                environment: deployment.environment
            )
            let direct = try self.report(endpoint.output).targets[0]
            #expect(direct.label == "embedded (tcp)")
            #expect(direct.completed == 80 && direct.failures.isEmpty, "\(direct.failures)")
            #expect(direct.processorMillisecondsPerRequest.keys.sorted() == ["frontend", "worker"])
        }
    }

    @Test func `the planes are compared, and nothing of it is left`() async throws {
        try await withTemporaryDirectory { directory in
            let environment = [
                "XDG_STATE_HOME": directory.path(), "XDG_RUNTIME_DIR": directory.path(), "DYN_TCP_RPC_HOST": nil,
            ]
            let (output, exit) = try await Launcher.run(
                ["bench", "--all-planes", "--json"] + Self.load,
                environment: environment,
                workingDirectory: directory.path(),
                within: .seconds(60)
            )
            #expect(exit == .code(0), "\(output)")
            let report = try self.report(String(output.drop { $0 != "{" }))
            #expect(report.targets.map(\.label) == ["tcp", "http", "nats"])
            #expect(report.targets.map(\.completed) == [80, 80, 80])
            try await eventually(within: .seconds(5), "nothing of the deployments is left") {
                SystemProcesses.withEnvironment(containing: "XDG_STATE_HOME=\(directory.path())").isEmpty
            }
        }
    }

    private static let mistakes: [(arguments: [String], words: String)] = [
        (["--endpoint", "backend.nothing"], "it has backend.generate"), (["nobody"], "no deployment 'nobody' runs"),
        (["https://127.0.0.1:1"], "not a URL of the form http://host:port"),
        (["http://127.0.0.1:1"], "http://127.0.0.1:1/v1/models"), (["--model", "x"], "has no model 'x'; it has echo"),
        (["--all-planes", "embedded"], "--all-planes starts its own deployments"),
        (["--rounds", "0"], "--rounds takes a number above 0"),
    ]

    @Test func `what cannot be measured is said`() async throws {
        _ = try await Launcher.up { deployment in
            try await deployment.waitUntilReady()
            for (arguments, words) in Self.mistakes {
                let (output, exit) = try await Launcher.run(["bench"] + arguments, environment: deployment.environment)
                #expect(exit == .code(1))
                #expect(output.contains(words), "\(output)")
            }
        }
    }
}
