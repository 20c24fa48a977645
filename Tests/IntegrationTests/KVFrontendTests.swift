import Foundation
import RequestPlane
import TestSupport
import Testing

/// Our frontend with a router inside, over workers that tell what they hold.
@Suite("Our frontend in mode kv", .serialized, .timeLimit(.minutes(3)))
struct KVFrontendTests {
    /// A prompt of ten blocks of 16 that begins like no other.
    static func prompt(_ number: Int) -> [Int] { (0..<160).map { ($0 * 7 + number * 131) % 250 + 1 } }

    /// Where a request went, and how much of its prompt was there.
    struct Routed {
        var worker: UInt64
        var prefillWorker: UInt64
        var hitRate: Double
        var text: String
    }

    static func ask(
        _ place: MixedPlace,
        _ model: String,
        _ prompt: [Int],
        tokens: Int = 3,
        worker: UInt64? = nil
    ) async throws -> Routed {
        let named = worker.map { #""backend_instance_id":\#($0),"# } ?? ""
        let reply = try await HTTPRequests.post(
            place.url + "/v1/completions",
            json: #"{"model":"\#(model)","prompt":\#(prompt),"max_tokens":\#(tokens),"ignore_eos":true,"#
                + #""nvext":{\#(named)"extra_fields":["worker_id","timing"]}}"#
        )
        try #require(reply.status == 200, "\(reply.text)")
        let answer = try reply.object()
        let usage = answer["usage"] as? [String: Any]
        #expect(usage?["completion_tokens"] as? Int == tokens, "\(reply.text)")
        let extra = try #require(answer["nvext"] as? [String: Any], "\(reply.text)")
        let timing = extra["timing"] as? [String: Any]
        let ids = extra["worker_id"] as? [String: Any]
        let text = (answer["choices"] as? [[String: Any]])?.first?["text"] as? String
        return Routed(
            worker: (ids?["decode_worker_id"] as? NSNumber)?.uint64Value ?? 0,
            prefillWorker: (ids?["prefill_worker_id"] as? NSNumber)?.uint64Value ?? 0,
            hitRate: (timing?["kv_hit_rate"] as? NSNumber)?.doubleValue ?? -1,
            text: text ?? ""
        )
    }

    private static let frontend = TestEnvironment.products.appending(path: "dynamo-frontend").path

    /// Runs one of our frontends until the body ends.
    private static func withFrontend<Value: Sendable>(
        _ place: MixedPlace,
        _ model: String,
        _ environment: [String: String?],
        _ body: () async throws -> Value
    ) async throws -> Value {
        let flags = ["--http-port", "\(place.port)", "--router-mode", "kv", "--router-replica-sync"]
        return try await withProgram(self.frontend, flags, environment: environment) { frontend in
            try await place.waitForModel(model, frontend)
            return try await body()
        }.value
    }

    @Test func `over real mockers prompts go to who holds them, for a late frontend too, and two share their load`()
        async throws
    {
        let python = try TestEnvironment.python(.v121)
        let model = try TestEnvironment.model()
        try await NATSServerFixture.run { server in
            try await withTemporaryDirectory { directory in
                var first = MixedPlace(directory: directory.appending(path: "kv"), port: try freePort())
                first.nats = server.url
                var second = first
                second.port = try freePort()
                var environment = first.environment()
                environment["DYN_EVENT_PLANE"] = "nats"
                let (early, late, all) = (first, second, environment)
                let mocker = [
                    "-m", "dynamo.mocker", "--model-path", model, "--block-size", "16", "--num-workers", "2",
                    "--speedup-ratio", "2",
                ]
                _ = try await withProgram(python, mocker, environment: all) { mockers in
                    try await Self.withFrontend(early, model, all) {
                        // New prompts each time: those that were asked before stay with who has them, also when another worker comes.
                        var (seen, number): (Set<UInt64>, Int) = ([], 100)
                        try await eventually(within: .seconds(30), "both workers are there; \(mockers.output)") {
                            seen.insert(try await Self.ask(early, model, Self.prompt(number), tokens: 1).worker)
                            number = 100 + (number - 99) % 100
                            return seen.count == 2
                        }
                        let holders = try await self.checkHolders(early, model)
                        try await Self.withFrontend(late, model, all) {
                            for (number, holder) in holders {
                                let routed = try await Self.ask(late, model, Self.prompt(number))
                                #expect(routed.worker == holder)
                                #expect(routed.hitRate > 0.8)
                            }
                            try await self.checkReplicas(early, late, model, Set(holders.values))
                        }
                    }
                }
            }
        }
    }

    /// Each prompt stays with the worker that had it first.
    private func checkHolders(_ place: MixedPlace, _ model: String) async throws -> [Int: UInt64] {
        var holders: [Int: UInt64] = [:]
        // Between two idle workers chance decides, which may choose the same one again and again.
        for number in 0..<40 where holders.count < 6 || Set(holders.values).count < 2 {
            let first = try await Self.ask(place, model, Self.prompt(number))
            #expect(first.hitRate == 0)
            #expect(first.worker != 0)
            var last = first
            try await eventually("the frontend hears of the blocks") {
                last = try await Self.ask(place, model, Self.prompt(number))
                return last.hitRate > 0.8 || last.worker != first.worker
            }
            // Asked again before the frontend had heard of the blocks, it may have gone elsewhere, and then both have it.
            guard last.worker == first.worker else { continue }
            for _ in 0..<3 {
                #expect(try await Self.ask(place, model, Self.prompt(number)).worker == first.worker)
            }
            holders[number] = first.worker
        }
        #expect(holders.count >= 6)
        #expect(Set(holders.values).count == 2, "new prompts are spread")
        return holders
    }

    /// What one frontend has sent to a worker keeps the other from sending there.
    private func checkReplicas(
        _ one: MixedPlace,
        _ other: MixedPlace,
        _ model: String,
        _ workers: Set<UInt64>
    ) async throws {
        let busy = try #require(workers.min())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<8 {
                group.addTask {
                    _ = try await Self.ask(one, model, Self.prompt(200 + number), tokens: 2000, worker: busy)
                }
            }
            var number = 300
            try await eventually("the other frontend hears of the load") {
                var seen: Set<UInt64> = []
                for _ in 0..<6 {
                    number += 1
                    seen.insert(try await Self.ask(other, model, Self.prompt(number), tokens: 1).worker)
                }
                return seen == workers.subtracting([busy])
            }
            group.cancelAll()
            while let result = await group.nextResult() { _ = result }
        }
    }
}

extension KVFrontendTests {
    @Test(arguments: ["kv", "round-robin", "least-loaded"])
    func `prompts are processed by real prefill mockers, and answers made by real decode mockers`(
        _ mode: String
    )
        async throws
    {
        let python = try TestEnvironment.python(.v121)
        let model = try TestEnvironment.model()
        try await NATSServerFixture.run { server in
            try await withTemporaryDirectory { directory in
                var deployment = MixedPlace(directory: directory.appending(path: "kv"), port: try freePort())
                deployment.nats = server.url
                var environment = deployment.environment()
                environment["DYN_EVENT_PLANE"] = "nats"
                let (place, all) = (deployment, environment)
                let mocker = [
                    "-m", "dynamo.mocker", "--model-path", model, "--block-size", "16", "--disaggregation-mode",
                ]
                let prefill = mocker + ["prefill", "--endpoint", "dyn://dynamo.prefill.generate"]
                _ = try await withProgram(python, prefill, environment: all) { _ in
                    try await withProgram(python, mocker + ["decode"], environment: all) { decoder in
                        let flags = ["--http-port", "\(place.port)", "--router-mode", mode]
                        _ = try await withProgram(Self.program, flags, environment: all) { frontend in
                            try await place.waitForModel(model, frontend)
                            try await eventually("both pools are known") {
                                FileManager.default.subpaths(atPath: place.directory.path)?
                                    .filter { $0.contains("mdc") && $0.contains("generate") }.count == 2
                            }
                            try await self.checkPools(place, model, mode)
                            #expect(!frontend.output.contains("was not processed elsewhere"), "\(frontend.output)")
                        }
                        #expect(decoder.output.contains("request received"), "\(decoder.output)")
                    }
                }
            }
        }
    }

    private static let program = TestEnvironment.products.appending(path: "dynamo-frontend").path

    private func checkPools(_ place: MixedPlace, _ model: String, _ mode: String) async throws {
        guard mode == "kv" else {
            let reply = try await HTTPRequests.post(
                place.url + "/v1/completions",
                json: #"{"model":"\#(model)","prompt":\#(Self.prompt(1)),"max_tokens":3,"ignore_eos":true}"#
            )
            #expect(reply.status == 200, "\(reply.text)")
            #expect(reply.text.contains(#""completion_tokens":3"#), "\(reply.text)")
            return
        }
        try await eventually("the prompt and the answer are made by two workers") {
            let routed = try await Self.ask(place, model, Self.prompt(0))
            return routed.prefillWorker != routed.worker && routed.prefillWorker != 0
        }
        try await eventually("the prefill worker is known to hold the prompt") {
            try await Self.ask(place, model, Self.prompt(0)).hitRate > 0.8
        }
    }
}
