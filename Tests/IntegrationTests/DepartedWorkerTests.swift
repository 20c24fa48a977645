import Foundation
import Supervisor
import TestSupport
import Testing

/// Workers that are killed and do not come back soon, while frontends of Dynamo go on.
@Suite(.serialized) struct DepartedWorkerTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var release: TestEnvironment.DynamoPeer
        var settings: [String] = []
        var testDescription: String { "\(self.release) \(self.settings)" }
    }

    /// A lease of 10 s in files, and one of 30 s on etcd.
    private static let cases = [
        Case(release: .v121), Case(release: .v161, settings: ["discovery=etcd", "infrastructure.etcd=managed"]),
    ]

    @Test(arguments: cases)
    func `frontends ask a killed worker no more, long before its lease is over`(_ example: Case) async throws {
        let manifest = TestEnvironment.root.appending(path: "launch/mocker.yaml").path()
        let settings = ["processes.worker.replicas=2", "processes.worker.restart.initialDelay=600s"] + example.settings
        let (_, exit) = try await Launcher.up(
            [manifest] + settings.flatMap { ["--set", $0] },
            environment: try RealDynamoTests.environment(example.release)
        ) { deployment in
            try await deployment.waitUntilReady()
            let body = try Chat.body(model: try await Chat.firstModel(deployment.url))
            func statuses(_ count: Int) async throws -> [Int] {
                var statuses: [Int] = []
                for _ in 0..<count {
                    let answer = try await HTTPRequests.post("\(deployment.url)/v1/chat/completions", json: body)
                    statuses.append(answer.status)
                }
                return statuses
            }
            func killWorker(_ name: String) async throws {
                let (output, exit) = try await deployment.command("signal", "kill", name)
                #expect(exit == .code(0), "\(output)")
                try await deployment.program.waitForOutput("\(name): instance ", within: .seconds(8))
            }
            try await killWorker("worker-0")
            // Without that, every other request fails until the lease is over.
            try await eventually(within: .seconds(8), "the frontend knows it") {
                try await statuses(6).allSatisfy { $0 == 200 }
            }
            let rest = try await statuses(20)
            #expect(rest.allSatisfy { $0 == 200 }, "\(rest)")
            let events = try await deployment.command("events").output
            #expect(events.contains("of its last run was taken out of discovery"), "\(events)")

            // Nobody is left, which may change: clients are told to try again, not that there is no such model.
            try await killWorker("worker-1")
            try await eventually(within: .seconds(8), "the frontend says that nobody is there") {
                try await statuses(2).allSatisfy { $0 == 503 }
            }
        }
        #expect(exit == .code(0))
    }
}
