import Testing

@testable import KVRouter

@Suite("Requests that wait")
struct SelectionQueueTests {
    @Test("first come, first served, or the shortest prompt first")
    func order() {
        for (policy, expected) in [(QueuePolicy.fcfs, ["a", "b", "c"]), (.wspt, ["b", "c", "a"])] {
            var queue = SelectionQueue(policy: policy)
            for (id, tokens) in [("a", 9), ("b", 2), ("c", 2)] { queue.append(id, prefillTokens: tokens) }
            #expect(queue.count == 3)
            #expect((0..<3).compactMap { _ in queue.popFirst() } == expected)
            #expect(queue.popFirst() == nil)
        }
    }

    @Test("who leaves is passed over")
    func leaves() {
        var queue = SelectionQueue(policy: .fcfs)
        for id in ["a", "b", "a"] { queue.append(id, prefillTokens: 1) }
        queue.remove("a")
        queue.remove("nobody")
        #expect(queue.count == 1)
        #expect(queue.popFirst() == "b")
        queue.append("a", prefillTokens: 1)
        #expect(queue.popFirst() == "a")
        #expect((queue.popFirst(), queue.count) == (nil, 0))
    }
}
