import Discovery
import DynamoRuntime
import RequestPlane
import Testing

@testable import dynamo_frontend

@Suite("Which models are served, and by whom")
struct ModelDirectoryTests {
    private typealias Worker = (instance: InstanceRecord, model: ModelRecord)

    private func snapshot(_ workers: [Worker]) -> DiscoverySnapshot {
        DiscoverySnapshot(instances: workers.map(\.instance), models: workers.map(\.model))
    }

    @Test("a model is listed while its card and its instance exist")
    func lifeCycle() {
        let worker = FrontendFixture.worker(1)
        var directory = ModelDirectory()
        #expect(directory.lookup("m", .chat) == .unknown)
        _ = directory.update(self.snapshot([worker]), now: 5)
        #expect(directory.listings.map(\.name) == ["m"])
        #expect(directory.lookup("m", .chat) == .instances([worker.instance.instance]))
        _ = directory.update(DiscoverySnapshot(models: [worker.model]), now: 6)
        #expect(directory.listings == [])
        #expect(directory.lookup("m", .chat) == .noInstance)
        #expect(directory.listing(of: "m")?.isReady == false)
        _ = directory.update(self.snapshot([worker]), now: 7)
        #expect(directory.listing(of: "m") == .init(name: "m", created: 5, contextLength: 4096, namespaces: ["n": 1]))
        _ = directory.update(DiscoverySnapshot(instances: [worker.instance]), now: 8)
        #expect(directory.lookup("m", .chat) == .unknown)
        #expect(directory.instances == [worker.instance])
    }

    @Test("instances of all planes count, side by side")
    func allPlanes() {
        var workers = (1...3).map { FrontendFixture.worker(UInt64($0)) }
        workers[1].instance.instance.transport = .http("http://127.0.0.1:1/v1/rpc/generate")
        workers[2].instance.instance.transport = .nats("n_backend.generate-3")
        var directory = ModelDirectory()
        _ = directory.update(self.snapshot(workers), now: 5)
        guard case .instances(let found) = directory.lookup("m", .chat) else {
            Issue.record("\(directory.lookup("m", .chat))")
            return
        }
        #expect(Set(found) == Set(workers.map(\.instance.instance)))
    }

    @Test("requests go to workers of their kind that take text, and to those that take tokens once these are prepared")
    func kinds() {
        let chat = FrontendFixture.worker(1, component: "a", kind: .chat)
        let completions = FrontendFixture.worker(2, component: "b", kind: .completions)
        var tokens = FrontendFixture.worker(3, model: "tok")
        tokens.model.card.fields["model_input"] = "Tokens"
        var prefill = FrontendFixture.worker(4, model: "pre", kind: .prefill)
        prefill.model.card.fields["model_input"] = "Tokens"
        var directory = ModelDirectory()
        _ = directory.update(self.snapshot([chat, completions, tokens, prefill]), now: 5)
        #expect(directory.lookup("m", .chat) == .instances([chat.instance.instance]))
        #expect(directory.lookup("m", .completions) == .instances([completions.instance.instance]))
        #expect(directory.lookup("tok", .chat) == .unprepared)
        #expect(directory.listing(of: "tok")?.isReady == false)
        #expect(directory.tokenModels.map(\.name) == ["tok"])
        #expect(directory.tokenModels.first?.endpoint == tokens.instance.instance.endpoint)
        directory.prepared = ["tok"]
        #expect(directory.lookup("tok", .chat) == .tokens([tokens.instance.instance]))
        #expect(directory.listing(of: "tok")?.isReady == true)
        #expect(directory.lookup("pre", .chat) == .unknown)
        #expect(directory.listings.map(\.name) == ["m", "tok"])
        _ = directory.update(self.snapshot([chat]), now: 6)
        #expect(directory.lookup("m", .completions) == .wrongKind(.chat))
    }

    @Test("files of a model are taken from a worker that is there")
    func filesOfThoseThatAreThere() {
        var first = FrontendFixture.worker(1, component: "a")
        var second = FrontendFixture.worker(2, component: "b")
        first.model.card.fields["model_input"] = "Tokens"
        second.model.card.fields["model_input"] = "Tokens"
        var directory = ModelDirectory()
        _ = directory.update(
            DiscoverySnapshot(instances: [second.instance], models: [first.model, second.model]),
            now: 5
        )
        #expect(directory.tokenModels.map(\.endpoint) == [second.instance.instance.endpoint])
    }

    @Test("a card that contradicts the accepted one is refused as long as that is there")
    func contradiction() {
        let first = FrontendFixture.worker(2)
        let second = FrontendFixture.worker(1, contextLength: 1)
        var directory = ModelDirectory()
        _ = directory.update(self.snapshot([first]), now: 5)
        let refusals = directory.update(self.snapshot([first, second]), now: 6)
        #expect(
            refusals.map(\.reason) == [
                "its context_length 1, kv_cache_block_size 16 differ from those of `m` in this namespace (4096, 16)"
            ]
        )
        #expect(directory.lookup("m", .chat) == .instances([first.instance.instance]))
        #expect(directory.update(self.snapshot([second]), now: 7) == [])
        #expect(directory.lookup("m", .chat) == .instances([second.instance.instance]))
        let elsewhere = FrontendFixture.worker(3, namespace: "other", contextLength: 9)
        #expect(directory.update(self.snapshot([second, elsewhere]), now: 8) == [])
    }

    @Test("a card without a name is refused")
    func nameless() {
        var worker = FrontendFixture.worker(1)
        worker.model.card.fields["display_name"] = nil
        var directory = ModelDirectory()
        #expect(
            directory.update(self.snapshot([worker]), now: 5).map(\.reason) == [
                "the card has no `display_name`"
            ]
        )
    }
}
