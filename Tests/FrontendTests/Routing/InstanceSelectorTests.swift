import Discovery
import KVRouter
import RequestPlane
import Testing

@testable import dynamo_frontend

@Suite("Who gets the next request")
struct InstanceSelectorTests {
    private let instances = (1...3).map { FrontendFixture.worker(UInt64($0)).instance.instance }
    private let start = ContinuousClock.now

    private func ids(
        _ selector: inout InstanceSelector,
        _ count: Int,
        after: Duration = .zero
    )
        -> [UInt64?]
    {
        (0..<count).map { _ in
            self.choose(&selector, after: after)
        }
    }

    @Test("round-robin takes turns")
    func turns() {
        var selector = self.selector(.roundRobin)
        #expect(self.ids(&selector, 5) == [1, 2, 3, 1, 2])
    }

    private func choose(
        _ selector: inout InstanceSelector,
        _ id: String = "r",
        _ request: SelectionRequest = SelectionRequest(),
        excluding: Set<InstanceID> = [],
        after: Duration = .zero
    ) -> UInt64? {
        var generator = SystemRandomNumberGenerator()
        let outcome = selector.choose(
            id,
            request,
            from: self.instances,
            excluding: excluding,
            now: self.start + after,
            using: &generator
        )
        guard case .instance(let instance) = outcome else { return nil }
        return instance.id.rawValue
    }

    private func selector(_ mode: RouterMode) -> InstanceSelector {
        var configuration = RouterConfiguration()
        configuration.mode = mode
        return InstanceSelector(configuration)
    }

    @Test("least-loaded counts requests until they end")
    func leastLoaded() {
        var selector = self.selector(.leastLoaded)
        let first = ["a", "b", "c"].map { self.choose(&selector, $0) }
        #expect(Set(first) == [1, 2, 3])
        selector.ended("b")
        #expect(self.choose(&selector, "d") == first[1])
    }

    @Test("kv sends a prompt where it was before, for as long as it is believed to be there")
    func prediction() {
        var selector = self.selector(.kv)
        var request = SelectionRequest()
        request.promptTokens = 64
        request.blocks = (1...4).map { BlockHash(rawValue: $0) }
        let first = self.choose(&selector, "a", request)
        selector.ended("a")
        for round in 0..<20 {
            #expect(self.choose(&selector, "\(round)", request) == first)
            selector.ended("\(round)")
        }
        let later = (0..<60).map { round in
            let worker = self.choose(&selector, "l", request, after: .seconds(121 * (round + 1)))
            selector.ended("l")
            return worker
        }
        #expect(Set(later).count > 1)
    }

    @Test("who could not be reached is left out for a while, unless nobody else is there")
    func absence() {
        var selector = self.selector(.roundRobin)
        selector.failed(InstanceID(rawValue: 2), now: self.start)
        #expect(self.ids(&selector, 4) == [1, 3, 1, 3])
        selector.failed(InstanceID(rawValue: 1), now: self.start)
        selector.failed(InstanceID(rawValue: 3), now: self.start)
        #expect(self.ids(&selector, 3).compactMap { $0 }.count == 3)
        #expect(Set(self.ids(&selector, 3, after: .seconds(6))) == [1, 2, 3])
    }

    @Test("who has refused is not asked again")
    func excluded() {
        var selector = self.selector(.roundRobin)
        let all = Set(self.instances.map(\.id))
        #expect(self.choose(&selector, excluding: all) == nil)
        var generator = SystemRandomNumberGenerator()
        let nobody = selector.choose("r", from: [], excluding: [], now: self.start, using: &generator)
        #expect(nobody == .none(.noWorker))
    }
}
