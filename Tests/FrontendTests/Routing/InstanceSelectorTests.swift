import Discovery
import RequestPlane
import Testing

@testable import dynamo_frontend

@Suite("Who gets the next request")
struct InstanceSelectorTests {
    private let instances = (1...3).map { FrontendFixture.worker(UInt64($0)).instance.instance }
    private let start = ContinuousClock.now

    private func ids(_ selector: inout InstanceSelector, _ count: Int, after: Duration = .zero) -> [UInt64?] {
        (0..<count).map { _ in
            selector.choose(from: self.instances, excluding: [], now: self.start + after, random: 0)?.id.rawValue
        }
    }

    @Test("round-robin takes turns")
    func turns() {
        var selector = InstanceSelector(mode: .roundRobin)
        #expect(self.ids(&selector, 5) == [1, 2, 3, 1, 2])
    }

    @Test("random takes the number it is given")
    func random() {
        var selector = InstanceSelector(mode: .random)
        let ids = [0, 1, 5, Int.max].map {
            selector.choose(from: self.instances, excluding: [], now: self.start, random: $0)?.id.rawValue
        }
        #expect(ids == [1, 2, 3, UInt64(Int.max % 3 + 1)])
    }

    @Test("who could not be reached is left out for a while, unless nobody else is there")
    func absence() {
        var selector = InstanceSelector(mode: .roundRobin)
        selector.failed(InstanceID(rawValue: 2), now: self.start)
        #expect(self.ids(&selector, 4) == [1, 3, 1, 3])
        selector.failed(InstanceID(rawValue: 1), now: self.start)
        selector.failed(InstanceID(rawValue: 3), now: self.start)
        #expect(self.ids(&selector, 3).compactMap { $0 }.count == 3)
        #expect(Set(self.ids(&selector, 3, after: .seconds(6))) == [1, 2, 3])
    }

    @Test("who has refused is not asked again")
    func excluded() {
        var selector = InstanceSelector(mode: .roundRobin)
        let all = Set(self.instances.map(\.id))
        #expect(selector.choose(from: self.instances, excluding: all, now: self.start, random: 0) == nil)
        #expect(selector.choose(from: [], excluding: [], now: self.start, random: 0) == nil)
    }
}
