import Discovery
import Foundation
import Logging
import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// Where workers, routers and a test find each other: a discovery directory, an event plane, and a client of the test's own.
struct RoutedPlace: Sendable {
    /// A router's program.
    enum Router: Sendable, CustomTestStringConvertible {
        case ours
        case real(TestEnvironment.DynamoPeer)

        var testDescription: String {
            switch self {
            case .ours: "ours"
            case .real(let peer): "a real one of \(peer)"
            }
        }
    }

    let folder: URL
    let client: any RequestPlaneClient
    let environment: [String: String?]

    /// The event plane.
    enum Plane: String, Sendable {
        case nats
        case zmq
    }

    /// Makes a place on one of the event planes, with a server of its own where that needs one.
    static func run<Value: Sendable>(
        on plane: Plane,
        _ body: (RoutedPlace) async throws -> Value
    ) async throws -> Value {
        switch plane {
        case .nats: try await NATSServerFixture.run { try await self.run(nats: $0.url, body) }
        case .zmq: try await self.run(nats: nil, body)
        }
    }

    /// Makes a place for as long as the body runs.
    ///
    /// - Parameters:
    ///   - nats: the server of the event plane; nil: events go over ZeroMQ.
    ///   - body: the test.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws.
    static func run<Value: Sendable>(
        nats: String?,
        _ body: (RoutedPlace) async throws -> Value
    ) async throws -> Value {
        try await withTemporaryDirectory { folder in
            let environment: [String: String?] = [
                "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": folder.path, "DYN_REQUEST_PLANE": "tcp",
                "DYN_EVENT_PLANE": nats == nil ? "zmq" : "nats", "NATS_SERVER": nats, "HF_HUB_OFFLINE": "1",
                "DYN_TCP_RPC_HOST": "127.0.0.1", "DYN_EVENT_PLANE_HOST": "127.0.0.1", "DYN_NAMESPACE": nil,
                "DYN_SYSTEM_PORT": nil,
                "DYN_LOG": "info",
            ]
            var configuration = NetworkManager.Configuration()
            configuration.tcp.host = "127.0.0.1"
            configuration.responseStream.host = "127.0.0.1"
            let manager = NetworkManager(configuration: configuration, logger: Logger(label: "routed"))
            return try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await manager.run() }
                defer { group.cancelAll() }
                return try await body(RoutedPlace(folder: folder, client: manager.client, environment: environment))
            }
        }
    }

    /// A prompt of whole blocks of 16 that begins like no other.
    static func prompt(_ number: Int, blocks: Int = 10) -> [Int] {
        (0..<blocks * 16).map { ($0 * 7 + number * 131) % 900 + 10 }
    }

    var discovery: FileDiscovery {
        FileDiscovery(directory: self.folder.path, logger: Logger(label: "routed"))
    }

    // MARK: Workers

    /// Runs Dynamo's mock engines.
    func withMockers<Value: Sendable>(
        _ peer: TestEnvironment.DynamoPeer,
        _ arguments: [String] = ["--num-workers", "2"],
        _ body: (RunningProgram) async throws -> Value
    ) async throws -> Value {
        let model = try TestEnvironment.model()
        return try await withProgram(
            try TestEnvironment.python(peer),
            ["-m", "dynamo.mocker", "--model-path", model, "--block-size", "16"] + arguments,
            environment: self.environment,
            body
        ).value
    }

    /// Runs one of our mock engines.
    func withWorker<Value: Sendable>(
        _ arguments: [String],
        environment more: [String: String] = [:],
        _ body: (RunningProgram) async throws -> Value
    ) async throws -> Value {
        var environment = self.environment
        environment["XDG_STATE_HOME"] = self.folder.appending(path: "state").path
        for (name, value) in more { environment[name] = value }
        return try await withProgram(
            TestEnvironment.products.appending(path: "dynamo-worker").path,
            ["--engine", "mock"] + arguments,
            environment: environment,
            body
        ).value
    }

    /// The instances of an endpoint in discovery.
    func instances(_ endpoint: EndpointID) async throws -> [Instance] {
        try await self.discovery.snapshot(.all).instances.map(\.instance).filter { $0.endpoint == endpoint }
    }

    // MARK: Routers

    /// Runs a router of `dynamo.backend.generate`.
    func withRouter<Value: Sendable>(
        _ kind: Router,
        _ arguments: [String] = [],
        _ body: (RoutedCaller) async throws -> Value
    ) async throws -> Value {
        let generate = EndpointID(namespace: "dynamo", component: "router", name: "generate")
        let before = Set(try await self.instances(generate).map(\.id))
        let options = ["--endpoint", "dynamo.backend.generate", "--router-block-size", "16"] + arguments
        let (program, all) =
            switch kind {
            case .ours: (TestEnvironment.products.appending(path: "dynamo-router").path, options)
            case .real(let peer): (try TestEnvironment.python(peer), ["-m", "dynamo.router"] + options)
            }
        return try await withProgram(program, all, environment: self.environment) { running in
            var found: Instance?
            try await eventually(within: .seconds(40), "the router serves; its output:\n\(running.output)") {
                guard running.isRunning else {
                    throw OutputMissing(text: "a router that serves", ended: true, output: running.output)
                }
                found = try await self.instances(generate).first { !before.contains($0.id) }
                return found != nil
            }
            let instance = try #require(found)
            func other(_ name: String) async throws -> Instance? {
                let endpoint = EndpointID(namespace: "dynamo", component: "router", name: name)
                return try await self.instances(endpoint).first { $0.id == instance.id }
            }
            try await eventually("all its endpoints are there") { try await other("best_worker_id") != nil }
            return try await body(
                RoutedCaller(
                    client: self.client,
                    program: running,
                    generate: instance,
                    best: try #require(try await other("best_worker_id")),
                    scores: try await other("get_overlap_scores")
                )
            )
        }.value
    }
}

/// A router's endpoints, and a client for them.
struct RoutedCaller: Sendable {
    let client: any RequestPlaneClient
    let program: RunningProgram
    let generate: Instance
    let best: Instance
    /// Nil for routers of 1.2.
    let scores: Instance?

    struct Answer: Sendable {
        var worker: UInt64 = 0
        var tokens = 0
        var end: String?
    }

    /// Sends a prompt, and reads the answer to its end.
    func ask(_ prompt: [Int], tokens: Int = 3, more: String = "") async throws -> Answer {
        var answer = Answer()
        for try await item in try await self.open(prompt, tokens: tokens, more: more) {
            let object = try Self.object(item)
            answer.tokens += (object["token_ids"] as? [Int])?.count ?? 0
            answer.end = object["finish_reason"] as? String ?? answer.end
            answer.worker = Self.worker(object) ?? answer.worker
        }
        return answer
    }

    /// Sends a prompt.
    func open(_ prompt: [Int], tokens: Int, more: String = "") async throws -> ResponseStream {
        let body = #"{"token_ids":\#(prompt),"stop_conditions":{"max_tokens":\#(tokens),"ignore_eos":true}\#(more)}"#
        return try await self.client.send(
            .init(id: "t-\(UInt64.random(in: 0...(.max)))", payload: ByteBuffer(string: body)),
            to: self.generate
        )
    }

    /// Where a prompt would go.
    func bestWorker(_ prompt: [Int]) async throws -> UInt64 {
        let body = ByteBuffer(string: "\(prompt)")
        let id = "b-\(UInt64.random(in: 0...(.max)))"
        for try await item in try await self.client.send(.init(id: id, payload: body), to: self.best) {
            if case .data(let payload) = item, let worker = UInt64(String(buffer: payload)) { return worker }
            throw OutputMissing(text: "a worker", ended: false, output: "\(item)")
        }
        throw OutputMissing(text: "a worker", ended: true, output: "")
    }

    /// Where prompts would go that nobody has seen.
    func bestWorkers(_ count: Int) async throws -> Set<UInt64> {
        var workers: Set<UInt64> = []
        for _ in 0..<count {
            workers.insert(try await self.bestWorker(RoutedPlace.prompt(Int.random(in: 1000...1_000_000), blocks: 2)))
        }
        return workers
    }

    /// Blocks of a prompt that each worker holds.
    func held(_ prompt: [Int]) async throws -> [UInt64: Int] {
        let scores = try #require(self.scores)
        let body = ByteBuffer(string: #"{"token_ids":\#(prompt)}"#)
        let id = "s-\(UInt64.random(in: 0...(.max)))"
        var held: [UInt64: Int] = [:]
        for try await item in try await self.client.send(.init(id: id, payload: body), to: scores) {
            for worker in try Self.object(item)["workers"] as? [[String: Any]] ?? [] {
                guard let id = (worker["worker_id"] as? NSNumber)?.uint64Value else { continue }
                held[id, default: 0] += worker["device_blocks"] as? Int ?? 0
            }
        }
        return held
    }

    static func object(_ item: ResponseItem) throws -> [String: Any] {
        guard case .data(let payload) = item,
            let object = try JSONSerialization.jsonObject(with: Data(payload.readableBytesView)) as? [String: Any]
        else { throw OutputMissing(text: "an item", ended: false, output: "\(item)") }
        return object
    }

    /// The worker that the first item names.
    static func worker(_ object: [String: Any]) -> UInt64? {
        // 1.2 has it in the first, 1.6 in the second.
        let parameters = (object["disaggregated_params"] ?? object["routing_data"]) as? [String: Any]
        let worker = parameters?["worker_id"] as? [String: Any]
        return (worker?["decode_worker_id"] as? NSNumber)?.uint64Value
    }
}
