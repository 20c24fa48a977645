import Foundation
import TestSupport
import Testing

/// The manifests with KV routing and with separate pools, with real frontends and mock engines in the place of GPUs.
@Suite(.serialized) struct RouterManifestTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var manifest: String
        var peer: TestEnvironment.DynamoPeer
        var plane = "tcp"
        /// Whether the frontend routes by what it knows of caches.
        var routes = true
        var testDescription: String { "\(self.manifest), \(self.peer) on \(self.plane)" }
    }

    static let cases = [
        Case(manifest: "agg_router", peer: .v121), Case(manifest: "agg_router", peer: .v121, plane: "nats"),
        Case(manifest: "agg_router", peer: .v161), Case(manifest: "agg_router_approx", peer: .v121),
        Case(manifest: "agg_router_replicas", peer: .v121), Case(manifest: "agg_router_replicas", peer: .v161),
        Case(manifest: "disagg", peer: .v121, routes: false), Case(manifest: "disagg", peer: .v161, routes: false),
        Case(manifest: "disagg_router", peer: .v121), Case(manifest: "disagg_router", peer: .v161),
    ]

    @Test(arguments: Self.cases)
    func `what is asked again goes where its blocks are`(_ example: Case) async throws {
        var environment = try RealDynamoTests.environment(example.peer)
        let second = try freePort()
        environment["DYN_HTTP_PORT_R2"] = "\(second)"
        let manifest = TestEnvironment.root.appending(path: "launch/mocker/\(example.manifest).yaml").path()
        let (_, exit) = try await Launcher.up([manifest, "--\(example.plane)"], environment: environment) {
            deployment in
            try await deployment.waitUntilReady()
            let model = try await Chat.firstModel(deployment.url)
            var urls = [deployment.url, deployment.url]
            if example.manifest == "agg_router_replicas" { urls[1] = "http://127.0.0.1:\(second)" }
            guard example.routes else {
                _ = try await self.ask(urls[0], model, "alpha")
                return
            }
            // A router that has just started has not asked every worker for its blocks yet.
            for url in urls {
                try await eventually("the router knows who holds a prompt") {
                    try await self.ask(url, model, "alpha").hitRate > 0.9
                }
            }
            for number in 0..<12 { try await Self.expectSteering(urls, model, "word\(number)") }
        }
        #expect(exit == .code(0))
    }

    @Test(
        "without Python the same goes where its blocks are",
        arguments: ["agg_router", "agg_router_approx", "agg_router_replicas", "disagg", "disagg_router"]
    )
    func embedded(_ name: String) async throws {
        let second = try freePort()
        let environment = ["DYN_HTTP_PORT_R2": "\(second)", "DYN_PYTHON": "/nonexistent"]
        let manifest = TestEnvironment.root.appending(path: "launch/embedded/\(name).yaml").path()
        let (_, exit) = try await Launcher.up([manifest], environment: environment) { deployment in
            try await deployment.waitUntilReady()
            let model = try await Chat.firstModel(deployment.url)
            var urls = [deployment.url, deployment.url]
            if name == "agg_router_replicas" { urls[1] = "http://127.0.0.1:\(second)" }
            guard name != "disagg" else {
                _ = try await self.ask(urls[0], model, "alpha")
                return
            }
            for url in urls {
                try await eventually("the router knows who holds a prompt") {
                    try await self.ask(url, model, "alpha").hitRate > 0.9
                }
            }
            for number in 0..<6 { try await Self.expectSteering(urls, model, "word\(number)") }
        }
        #expect(exit == .code(0))
    }

    /// A plane on which our workers tell a real router what they hold.
    struct EventCase: Sendable, CustomTestStringConvertible {
        var peer: TestEnvironment.DynamoPeer
        var events: String
        var testDescription: String { "\(self.peer) on \(self.events)" }

        /// What a manifest needs beside the processes.
        var infrastructure: String { self.events == "zmq" ? "" : "infrastructure: {nats: managed}" }
    }

    static let eventCases = [
        EventCase(peer: .v121, events: "nats-core"), EventCase(peer: .v121, events: "jetstream"),
        EventCase(peer: .v121, events: "zmq"), EventCase(peer: .v161, events: "nats-core"),
        EventCase(peer: .v161, events: "zmq"),
    ]

    @Test(arguments: Self.eventCases)
    func `a real router follows our mock engines' KV events: what they hold, evict and lose`(
        _ example: EventCase
    ) async throws {
        try await withTemporaryDirectory { directory in
            let manifest = directory.appending(path: "steering.yaml")
            // A prompt takes some twenty blocks, so that a worker holds two of them.
            try """
            name: steering
            planes: {request: tcp, events: \(example.events)}
            \(example.infrastructure)
            processes:
              frontend: {module: dynamo.frontend, args: [--router-mode, kv]}
              worker:
                builtin: worker
                replicas: 2
                args: [--engine, mock, --num-blocks, 64, --speedup, 10]
                restart: {initialDelay: 100ms}
            """.write(to: manifest, atomically: true, encoding: .utf8)
            let environment = try RealDynamoTests.environment(example.peer)
            let (_, exit) = try await Launcher.up([manifest.path()], environment: environment) { deployment in
                try await deployment.waitUntilReady()
                try await self.expectFollowing(deployment)
            }
            #expect(exit == .code(0))
        }
    }

    private func expectFollowing(_ deployment: LaunchedDeployment) async throws {
        let model = try await Chat.firstModel(deployment.url)
        func ask(_ word: String) async throws -> KVAnswer {
            try await self.ask(deployment.url, model, word)
        }
        try await eventually("the router knows who holds a prompt") { try await ask("alpha").hitRate > 0.9 }
        let urls = [deployment.url, deployment.url]
        for number in 0..<12 { try await Self.expectSteering(urls, model, "word\(number)") }
        // Now and then nearly all go to the other worker, so that the first one's holder keeps it: then more of them follow.
        var isEvicted = try await ask("word0").hitRate < 0.5
        for round in 0..<4 where !isEvicted {
            for number in 0..<12 { _ = try await ask("more\(round)-\(number)") }
            isEvicted = try await ask("word0").hitRate < 0.5
        }
        #expect(isEvicted, "it was evicted long ago")

        var holder: UInt64 = 0
        try await eventually("the router knows who holds it now") {
            let again = try await ask("word0")
            holder = again.worker
            return again.hitRate > 0.9
        }
        for worker in deployment.processes where SystemProcesses.command(of: worker).contains("--engine mock") {
            kill(worker, SIGKILL)
        }
        try await eventually(within: .seconds(20), "new workers serve, and hold nothing") {
            guard let again = try? await ask("word0") else { return false }
            return again.worker != holder && again.hitRate < 0.5
        }
    }

    /// Sends a new prompt to the first router, then to the second until it meets a worker that has it.
    ///
    /// Events take a moment to reach a router, so that the prompt may go to another worker first, which then has it too.
    static func expectSteering(_ urls: [String], _ model: String, _ word: String) async throws {
        let first = try await KVAnswer.ask(urls[0], model, word)
        #expect(first.hitRate < 0.5)
        var holders: Set = [first.worker]
        try await eventually("the prompt '\(word)' meets a worker that has it") {
            let again = try await KVAnswer.ask(urls[1], model, word)
            guard again.hitRate > 0.8 else {
                holders.insert(again.worker)
                return false
            }
            #expect(holders.contains(again.worker))
            return true
        }
    }

    private func ask(_ url: String, _ model: String, _ word: String) async throws -> KVAnswer {
        try await KVAnswer.ask(url, model, word)
    }
}
