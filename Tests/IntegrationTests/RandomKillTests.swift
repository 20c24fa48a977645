import Foundation
import FuzzSupport
import Supervisor
import TestSupport
import Testing

/// A launcher that is killed again and again, at any time: DYNAMO_KILL_ROUNDS says how often, DYNAMO_KILL_SEED with which times.
@Suite(.serialized) struct RandomKillTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let rounds = Self.environment["DYNAMO_KILL_ROUNDS"].flatMap(Int.init)
    private static let seed = Self.environment["DYNAMO_KILL_SEED"].flatMap(UInt64.init) ?? .random(in: 0...9999)

    /// What the launcher is doing when it is killed.
    enum Phase: String, CaseIterable {
        case start, ready, restart, apply, stop
    }

    /// When a launcher is killed.
    private struct Kill: CustomStringConvertible {
        let round: Int
        let phase: Phase
        let delay: Duration

        var description: String {
            "seed \(RandomKillTests.seed), round \(self.round), \(self.phase.rawValue) after \(self.delay)"
        }
    }

    private static func kills(_ rounds: Int) -> [Kill] {
        var generator = FuzzRandom(seed: self.seed)
        return (0..<rounds).map { round in
            Kill(
                round: round,
                phase: Phase.allCases[round % Phase.allCases.count],
                delay: .milliseconds(Int.random(in: 0...400, using: &generator))
            )
        }
    }

    @Test func `with 'survive' nothing is lost, doubled, refused or left, whenever the launcher is killed`()
        async throws
    {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment("lasting", in: directory, manifest: SurvivalTests.manifest())
            let clients = PublicClients(port: deployment.port)
            clients.isOpen = false
            do {
                try await clients.run(2) {
                    for kill in Self.kills(Self.rounds ?? 12) { try await Self.perform(kill, on: deployment, clients) }
                }
                #expect(clients.counts.refused == [], "seed \(Self.seed)")
                #expect(clients.counts.answered > 0)
                try await Self.expectWhole(deployment)
            } catch {
                _ = try? await Launcher.run(["stop", "lasting"], environment: deployment.environment)
                throw error
            }
            try await eventually(within: .seconds(15), "nothing of the deployment is left") {
                SystemProcesses.withEnvironment(containing: "XDG_STATE_HOME=\(directory.path())").isEmpty
            }
        }
    }

    private static func perform(_ kill: Kill, on deployment: KilledDeployment, _ clients: PublicClients) async throws {
        let before = SurvivalTests.leaders(deployment)
        try await deployment.up { program in
            if kill.phase != .start {
                try await program.waitForOutput("ready in ")
                // From here on the port is open until somebody stops the deployment.
                clients.isOpen = kill.phase != .stop
            }
            async let command: Void = Self.ask(kill, deployment)
            try await Task.sleep(for: kill.delay)
            program.send(SIGKILL)
            try await program.waitForExit()
            await command
            // Those that no command wanted to change are the same.
            if let counter = before["counter"], kill.phase != .stop, kill.phase != .restart {
                #expect(SurvivalTests.leaders(deployment)["counter"] == counter, "\(kill)")
            }
            let copies = SurvivalTests.copies(deployment)
            #expect(copies.count == Set(copies).count, "\(kill): \(copies)")
        }
    }

    /// Starts it once more: everything is there once, is registered once, and serves.
    private static func expectWhole(_ deployment: KilledDeployment) async throws {
        try await deployment.up { program in
            try await program.waitForOutput("ready in ")
            // Ready is what the launcher before had; what the last command was about to change is replaced after it.
            try await eventually(within: .seconds(30), "all is there, once, is registered once, and serves") {
                let answer = try await HTTPRequests.post(
                    "\(deployment.url)/v1/chat/completions",
                    json: try Chat.body(model: "echo")
                )
                return answer.status == 200
                    && SurvivalTests.copies(deployment).sorted() == ["counter", "frontend", "worker"]
                    && (try? DiscoveryFolder.instances(of: deployment)) == 1
            }
            program.send(SIGTERM)
            try await program.waitForExit()
        }
        try SurvivalTests.expectEveryCount(deployment)
    }

    @Test func `without 'survive' nothing is left, whenever the launcher is killed`() async throws {
        try await withTemporaryDirectory { directory in
            let deployment = try KilledDeployment(
                "lasting",
                in: directory,
                manifest: SurvivalTests.manifest(survive: false)
            )
            for kill in Self.kills(Self.rounds ?? 6) {
                try await deployment.up { program in
                    if kill.phase != .start { try await program.waitForOutput("ready in ") }
                    async let command: Void = Self.ask(kill, deployment)
                    try await Task.sleep(for: kill.delay)
                    program.send(SIGKILL)
                    try await program.waitForExit()
                    await command
                }
                try await eventually(within: .seconds(15), "nothing is left, \(kill)") {
                    SystemProcesses.withEnvironment(containing: "XDG_STATE_HOME=\(directory.path())").isEmpty
                }
            }
        }
    }

    /// Has the launcher do something; it may die meanwhile.
    private static func ask(_ kill: Kill, _ deployment: KilledDeployment) async {
        switch kill.phase {
        case .start, .ready: break
        case .restart:
            _ = try? await Launcher.run(["restart", "worker", "counter"], environment: deployment.environment)
        case .apply:
            let worker = "{builtin: worker, env: {EXTRA: \"\(kill.round)\"}}"
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
