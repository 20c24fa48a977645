import Foundation
import TestSupport
import Testing

/// The guide's transcripts are what really happens: real Dynamo 1.2.1 goes from plane to plane and then to 1.6.1 while clients ask.
@Suite struct MigrationGuideTests {
    private static let document = TestEnvironment.root.appending(path: "docs/migration-guide.md")
    private static let writes = ProcessInfo.processInfo.environment["UPDATE_MIGRATION_GUIDE"] != nil

    private struct Chapter {
        var name: String
        var arguments: [String]
    }

    private static func chapters(_ newPython: String) -> [Chapter] {
        [
            Chapter(name: "nats-to-tcp", arguments: ["--to", "tcp"]),
            Chapter(name: "tcp-to-nats", arguments: ["--to", "nats"]),
            Chapter(name: "nats-to-http", arguments: ["--to", "http"]),
            Chapter(name: "upgrade", arguments: ["--to", "tcp", "--set", "dynamo.python=\(newPython)"]),
        ]
    }

    @Test func `the guide shows what really happens`() async throws {
        let python = try TestEnvironment.python(.v161)
        let environment = try RealDynamoTests.environment(.v121)
        _ = try await Launcher.up(["chat.yaml", "--nats"], environment: environment, prepare: Self.writeManifest) {
            deployment in
            try await deployment.waitUntilReady()
            let model = try await Chat.firstModel(deployment.url)
            let totals = try await SteadyClients.run(deployment.url, model: model, tokens: 16) {
                for chapter in Self.chapters(python) {
                    let (output, exit) = try await Launcher.run(
                        ["migrate"] + chapter.arguments
                            + ["--steps", "25,100", "--observe", "3", "--rollback-window", "1"],
                        environment: deployment.environment,
                        within: .seconds(90)
                    )
                    #expect(exit == .code(0), "\(output)")
                    try Self.compare(chapter, output, deployment.directory.path(), python)
                }
            }
            #expect(totals.failures == [])
        }
    }

    private static func writeManifest(_ directory: URL) throws {
        let source = TestEnvironment.root.appending(path: "launch/mocker.yaml")
        let text = try String(contentsOf: source, encoding: .utf8).replacing("name: mocker", with: "name: chat")
        try Data(text.utf8).write(to: directory.appending(path: "chat.yaml"))
    }

    /// Holds what was said against the document, or writes it there.
    private static func compare(_ chapter: Chapter, _ output: String, _ directory: String, _ python: String) throws {
        let folder = directory.hasSuffix("/") ? String(directory.dropLast()) : directory
        let said = output.replacing(folder, with: "/srv/chat").replacing(python, with: "/opt/dynamo-1.6.1/bin/python")
        let text = try String(contentsOf: self.document, encoding: .utf8)
        let (begin, end) = ("<!-- transcript: \(chapter.name) -->\n```\n", "```\n<!-- end -->")
        let start = try #require(text.firstRange(of: begin), "\(chapter.name) is not in the guide")
        let rest = text[start.upperBound...]
        let stop = try #require(rest.firstRange(of: end))
        guard !self.writes else {
            let new = text[..<start.upperBound] + said + text[stop.lowerBound...]
            return try Data(new.utf8).write(to: self.document)
        }
        #expect(self.essence(of: String(rest[..<stop.lowerBound])) == self.essence(of: said), "\(chapter.name)")
    }

    /// The lines without their figures; what is said of figures depends on them.
    private static func essence(of transcript: String) -> [String] {
        transcript.split(separator: "\n").map(String.init)
            .filter {
                !$0.contains("note:") && !$0.contains("requests, ") && !$0.hasSuffix(" ready")
                    && !$0.contains("waits for ")
            }
            .map { $0.replacing(/[0-9]+(\.[0-9]+)?|:/, with: "#").replacing(/\s+/, with: " ") }
    }
}
