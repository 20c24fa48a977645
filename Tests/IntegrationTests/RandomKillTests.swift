import Foundation
import Supervisor
import TestSupport
import Testing

/// A launcher that is killed again and again, at any time: DYNAMO_KILL_ROUNDS says how often.
@Suite(.serialized) struct RandomKillTests {
    private static let rounds = ProcessInfo.processInfo.environment["DYNAMO_KILL_ROUNDS"].flatMap(Int.init) ?? 12

    /// What the launcher is doing when it is killed.
    enum Phase: String, CaseIterable {
        case start, ready, restart, apply, stop
    }

    @Test func `with 'survive' nothing is lost, doubled or left, whenever the launcher is killed`() async throws {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment("lasting", in: directory, manifest: SurvivalTests.manifest())
            var generator = SystemRandomNumberGenerator()
            do {
                for round in 0..<Self.rounds {
                    let phase = Phase.allCases[round % Phase.allCases.count]
                    let delay = Duration.milliseconds(Int.random(in: 0...400, using: &generator))
                    let comment = "round \(round), \(phase.rawValue) after \(delay)"
                    let before = SurvivalTests.leaders(deployment)
                    try await deployment.up { program in
                        if phase != .start { try await program.waitForOutput("ready in ") }
                        async let command: Void = Self.ask(phase, deployment, round)
                        try await Task.sleep(for: delay)
                        program.send(SIGKILL)
                        try await program.waitForExit()
                        await command
                        // Those that no command wanted to change are the same.
                        if let counter = before["counter"], phase != .stop, phase != .restart {
                            #expect(SurvivalTests.leaders(deployment)["counter"] == counter, "\(comment)")
                        }
                        let copies = SurvivalTests.copies(deployment)
                        #expect(copies.count == Set(copies).count, "\(comment): \(copies)")
                    }
                }
                try await deployment.up { program in
                    try await program.waitForOutput("ready in ")
                    let answer = try await HTTPRequests.post(
                        "\(deployment.url)/v1/chat/completions",
                        json: try Chat.body(model: "echo")
                    )
                    #expect(answer.status == 200, "\(answer.text)")
                    // What the last command was about to change may be replaced once more.
                    try await eventually(within: .seconds(30), "all is there, once, and is registered once") {
                        SurvivalTests.copies(deployment).sorted() == ["counter", "frontend", "worker"]
                            && (try? DiscoveryFolder.instances(of: deployment)) == 1
                    }
                    program.send(SIGTERM)
                    try await program.waitForExit()
                }
                try SurvivalTests.expectEveryCount(deployment)
            } catch {
                _ = try? await Launcher.run(["stop", "lasting"], environment: deployment.environment)
                throw error
            }
            try await eventually(within: .seconds(15), "nothing of the deployment is left") {
                SystemProcesses.withEnvironment(containing: "XDG_STATE_HOME=\(directory.path())").isEmpty
            }
        }
    }

    @Test func `without 'survive' nothing is left, whenever the launcher is killed`() async throws {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment(
                "lasting",
                in: directory,
                manifest: SurvivalTests.manifest(survive: false)
            )
            for round in 0..<max(5, Self.rounds / 2) {
                let phase = Phase.allCases[round % Phase.allCases.count]
                try await deployment.up { program in
                    if phase != .start { try await program.waitForOutput("ready in ") }
                    async let command: Void = Self.ask(phase, deployment, round)
                    try await Task.sleep(for: .milliseconds(Int.random(in: 0...400)))
                    program.send(SIGKILL)
                    try await program.waitForExit()
                    await command
                }
                try await eventually(within: .seconds(15), "nothing is left after \(phase.rawValue), round \(round)") {
                    SystemProcesses.withEnvironment(containing: "XDG_STATE_HOME=\(directory.path())").isEmpty
                }
            }
        }
    }

    /// Has the launcher do something; it may die meanwhile.
    private static func ask(_ phase: Phase, _ deployment: KilledDeployment, _ round: Int) async {
        switch phase {
        case .start, .ready: break
        case .restart:
            _ = try? await Launcher.run(["restart", "worker", "counter"], environment: deployment.environment)
        case .apply:
            let worker = "{builtin: worker, env: {EXTRA: \"\(round)\"}}"
            try? SurvivalTests.manifest(survive: deployment.isLasting, worker: worker)
                .write(to: deployment.manifest, atomically: true, encoding: .utf8)
            _ = try? await Launcher.run(["apply"], environment: deployment.environment)
        case .stop: _ = try? await Launcher.run(["stop"], environment: deployment.environment)
        }
    }
}

extension KilledDeployment {
    fileprivate var isLasting: Bool {
        (try? String(contentsOf: self.manifest, encoding: .utf8))?.contains("survive: true") ?? false
    }
}

/// What is registered in the deployment's discovery folder.
private enum DiscoveryFolder {
    /// How many instances of the workers' generate endpoint there are.
    static func instances(of deployment: KilledDeployment) throws -> Int {
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(deployment.state)/discovery/v1/instances")
        return names.count { $0.contains("backend") && $0.contains("generate") }
    }
}
