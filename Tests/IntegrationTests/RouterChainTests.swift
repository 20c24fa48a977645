import Discovery
import Foundation
import KVEvents
import KVRouting
import Logging
import NATS
import TestSupport
import Testing

/// Our router where Dynamo has its own: behind a frontend, which reaches routers through Dynamo's global router.
///
/// A frontend routes itself and knows no router processes. Dynamo's global router registers as a worker of the model, and
/// hands each request to `{namespace}.router.generate` of a pool of workers.
@Suite(.serialized, .timeLimit(.minutes(2))) struct RouterChainTests {
    @Test func `a real frontend and a real global router reach real mockers through our router`() async throws {
        let python = try TestEnvironment.python(.v121)
        let model = try TestEnvironment.model()
        try await NATSServerFixture.run { server in
            try await RoutedPlace.run(nats: server.url) { place in
                let config = place.folder.appending(path: "pools.json")
                let strategy = """
                    {"ttft_min_ms":1,"ttft_max_ms":1000,"ttft_resolution":1,"itl_min_ms":1,"itl_max_ms":100,\
                    "itl_resolution":1,"agg_pool_mapping":[[0]]}
                    """
                try Data(
                    """
                    {"mode":"agg","num_agg_pools":1,"agg_pool_dynamo_namespaces":["dynamo"],\
                    "agg_pool_selection_strategy":\(strategy)}
                    """.utf8
                ).write(to: config)
                let port = try freePort()
                let front = ["--namespace", "front"]
                let global = ["-m", "dynamo.global_router", "--config", config.path, "--model-name", model] + front
                let frontend = ["-m", "dynamo.frontend", "--http-port", "\(port)"] + front
                try await place.withMockers(.v121) { _ in
                    try await place.withRouter(.ours, ["--router-min-initial-workers", "2"]) { _ in
                        _ = try await withProgram(python, global, environment: place.environment) { _ in
                            _ = try await withProgram(python, frontend, environment: place.environment) { program in
                                try await Self.withFeed(place, server.port) { feed in
                                    try await Self.check("http://127.0.0.1:\(port)", program, feed)
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Sees what the workers hold: answers through a global router do not name their worker.
    private static func withFeed(
        _ place: RoutedPlace,
        _ port: Int,
        _ body: (KVIndexFeed) async throws -> Void
    ) async throws {
        let logger = Logger(label: "chain") { _ in SwiftLogNoOpLogHandler() }
        let configuration = NATSConfiguration(servers: [NATSServerAddress(host: "127.0.0.1", port: port)])
        let plane = try await NATSEventPlane.connect(configuration, logger: logger)
        let feed = KVIndexFeed(of: IndexLoad.endpoint, plane: plane, client: place.client, logger: logger)
        let discovery = place.discovery
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await discovery.run() }
            group.addTask { try await feed.run(discovery.watch(.all)) }
            try await body(feed)
            group.cancelAll()
        }
        await plane.close()
    }

    private static func check(_ url: String, _ frontend: RunningProgram, _ feed: KVIndexFeed) async throws {
        try await eventually(within: .seconds(60), "the model is listed; output of the frontend:\n\(frontend.output)") {
            (try? await HTTPRequests.get(url + "/v1/models", limit: 2))?.text.contains("\"id\"") ?? false
        }
        let model = try await Chat.firstModel(url)
        func ask(_ word: String) async throws {
            let json = try Chat.body(model: model, prompt: String(repeating: "\(word) ", count: 60), tokens: 4)
            let reply = try await HTTPRequests.post("\(url)/v1/chat/completions", json: json)
            #expect(reply.status == 200, "\(reply.text)")
            let usage = try reply.object()["usage"] as? [String: Any]
            #expect(usage?["completion_tokens"] as? Int == 4, "\(reply.text)")
        }
        func blocks() -> Int { feed.blockCounts.values.reduce(0, +) }
        for number in 0..<6 {
            let before = blocks()
            try await ask("word\(number)")
            try await eventually("its blocks are somewhere") { blocks() >= before + 10 }
            let once = blocks()
            for _ in 0..<3 { try await ask("word\(number)") }
            // A copy on the other worker would be as many again.
            #expect(blocks() - once < (once - before) / 2, "\(before), \(once), \(blocks())")
        }
        // Between two idle workers chance decides, which may choose the same one again and again.
        for number in 6..<40 where feed.blockCounts.count < 2 {
            let before = blocks()
            try await ask("word\(number)")
            try await eventually("its blocks are somewhere") { blocks() > before }
        }
        #expect(feed.blockCounts.count == 2, "both workers have had some")
    }
}
