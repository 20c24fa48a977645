import Discovery
import Foundation
import Logging
import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// Our router in front of Dynamo's mock engines, called by our client.
extension RequestPlaneInteropTests {
    /// A prompt of ten blocks of 16 that begins like no other.
    private static func prompt(_ number: Int) -> [Int] { (0..<160).map { ($0 * 7 + number * 131) % 900 + 10 } }

    private static func endpoint(_ name: String) -> EndpointID {
        EndpointID(namespace: "dynamo", component: "router", name: name)
    }

    private struct Routed {
        var worker: UInt64
        var tokens: Int
        var end: String?
    }

    /// A router's endpoints, and a client for them.
    private struct Caller {
        let client: any RequestPlaneClient
        let generate: Instance
        let best: Instance
        let scores: Instance
        let collect: @Sendable (ResponseStream) async throws -> [String]

        func ask(_ prompt: [Int], id: String) async throws -> Routed {
            let body = ByteBuffer(string: #"{"token_ids":\#(prompt),"stop_conditions":{"max_tokens":3}}"#)
            let items = try await self.collect(
                try await self.client.send(.init(id: id, payload: body), to: self.generate)
            )
            var routed = Routed(worker: 0, tokens: 0)
            for (index, text) in items.enumerated() {
                let item = try #require(
                    try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any],
                    "\(text)"
                )
                #expect(item.count == 12, "\(text)")
                routed.tokens += (item["token_ids"] as? [Int])?.count ?? 0
                routed.end = item["finish_reason"] as? String ?? routed.end
                let worker = (item["disaggregated_params"] as? [String: Any])?["worker_id"] as? [String: Any]
                #expect((worker != nil) == (index == 0), "\(text)")
                if let id = (worker?["decode_worker_id"] as? NSNumber)?.uint64Value { routed.worker = id }
            }
            return routed
        }

        func bestWorker(_ prompt: [Int]) async throws -> UInt64? {
            let body = ByteBuffer(string: "\(prompt)")
            let items = try await self.collect(try await self.client.send(.init(id: "b", payload: body), to: self.best))
            return items.count == 1 ? UInt64(items[0]) : nil
        }

        /// Blocks of a prompt that each worker holds.
        func held(_ prompt: [Int]) async throws -> [UInt64: Int] {
            let body = ByteBuffer(string: #"{"token_ids":\#(prompt)}"#)
            let items = try await self.collect(
                try await self.client.send(.init(id: "s", payload: body), to: self.scores)
            )
            let object = try JSONSerialization.jsonObject(with: Data((items.first ?? "").utf8)) as? [String: Any]
            var held: [UInt64: Int] = [:]
            for worker in object?["workers"] as? [[String: Any]] ?? [] {
                guard let id = (worker["worker_id"] as? NSNumber)?.uint64Value else { continue }
                held[id] = worker["device_blocks"] as? Int
            }
            return held
        }
    }

    @Test func `our router steers requests to real mockers, and one that starts late knows what they hold`()
        async throws
    {
        let peer = InteropPeer(release: .v121, mode: .tcp)
        let python = try TestEnvironment.python(peer.release)
        let model = try TestEnvironment.model()
        let program = TestEnvironment.products.appending(path: "dynamo-router").path
        try await NATSServerFixture.run { server in
            try await withTemporaryDirectory { folder in
                var environment = self.environment(peer, folder, nats: server.url)
                environment["HF_HUB_OFFLINE"] = "1"
                environment["DYN_NAMESPACE"] = .some(nil)
                environment["DYN_EVENT_PLANE"] = "nats"
                let all = environment
                let mocker = ["-m", "dynamo.mocker", "--model-path", model, "--block-size", "16", "--num-workers", "2"]
                _ = try await withProgram(python, mocker, environment: all) { _ in
                    let router = [
                        "--endpoint", "dynamo.backend.generate", "--router-block-size", "16",
                        "--router-min-initial-workers", "2",
                    ]
                    var routerEnvironment = all
                    routerEnvironment["DYN_LOG"] = "info"
                    let holders = try await self.withCaller(peer, folder, program, router, routerEnvironment) {
                        caller in
                        var holders: [Int: UInt64] = [:]
                        for number in 0..<6 {
                            let prompt = Self.prompt(number)
                            let first = try await caller.ask(prompt, id: "first-\(number)")
                            #expect(first.tokens == 3)
                            #expect(first.end == "length")
                            try await eventually("the router hears of the blocks") {
                                try await caller.held(prompt)[first.worker] ?? 0 >= 10
                            }
                            #expect(try await caller.bestWorker(prompt) == first.worker)
                            let again = try await caller.ask(prompt, id: "again-\(number)")
                            #expect(again.worker == first.worker)
                            holders[number] = first.worker
                        }
                        return holders
                    }
                    // Killed, and started anew: at its first answer it knows all that was there before it.
                    try await self.withCaller(peer, folder, program, router, routerEnvironment) { caller in
                        for (number, holder) in holders {
                            #expect(try await caller.held(Self.prompt(number))[holder] ?? 0 >= 10)
                            #expect(try await caller.bestWorker(Self.prompt(number)) == holder)
                        }
                        let refused = try await caller.client.send(
                            .init(id: "r", payload: ByteBuffer(string: #"{"token_ids":[1]}"#)),
                            to: caller.best
                        )
                        #expect(try await self.collect(refused).first?.contains("must be a list of token ids") == true)
                    }
                }
            }
        }
    }

    /// Runs a router, which is killed afterwards.
    private func withCaller<Value: Sendable>(
        _ peer: InteropPeer,
        _ folder: URL,
        _ program: String,
        _ arguments: [String],
        _ environment: [String: String?],
        _ body: (Caller) async throws -> Value
    ) async throws -> Value {
        try await withProgram(program, arguments, environment: environment) { router in
            try await router.waitForOutput("get_overlap_scores")
            defer { router.send(SIGKILL) }
            // All three are published at once.
            let snapshot = try await FileDiscovery(directory: folder.path, logger: Logger(label: "router"))
                .snapshot(.all)
            func instance(_ name: String) throws -> Instance {
                let endpoint = Self.endpoint(name)
                return try #require(snapshot.instances.first { $0.instance.endpoint == endpoint }?.instance)
            }
            let generate = try instance("generate")
            let best = try instance("best_worker_id")
            let scores = try instance("get_overlap_scores")
            let value = try await self.withManager(peer) { manager in
                try await body(
                    Caller(
                        client: manager.client,
                        generate: generate,
                        best: best,
                        scores: scores,
                        collect: { try await self.collect($0) }
                    )
                )
            }
            router.send(SIGKILL)
            try await router.waitForExit()
            // The records of a killed router would be found instead of the next one's.
            let bucket = folder.appending(path: "v1/instances")
            for name in try FileManager.default.contentsOfDirectory(atPath: bucket.path)
            where name.hasPrefix("dynamo%2Frouter%2F") {
                try? FileManager.default.removeItem(at: bucket.appending(path: name))
            }
            return value
        }.value
    }
}
