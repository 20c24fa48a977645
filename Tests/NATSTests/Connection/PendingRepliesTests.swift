import Testing

@testable import NATS

@Suite struct PendingRepliesTests {
    private let start = ContinuousClock.now

    private func entry(_ handler: String, after seconds: Int) -> PendingReplies<String>.Entry {
        .init(handler: handler, deadline: self.start + .seconds(seconds), subject: "s", timeout: .seconds(seconds))
    }

    @Test func `each request is answered once`() {
        var replies = PendingReplies<String>()
        let first = replies.add(self.entry("a", after: 1))
        let second = replies.add(self.entry("b", after: 1))
        #expect(first != second)
        #expect(replies.contains(first))
        let result1 = replies.take(first)?.handler
        #expect(result1 == "a")
        let result2 = replies.take(first)?.handler
        #expect(result2 == nil)
        #expect(!replies.contains(first))
        let result3 = replies.takeAll().map(\.handler)
        #expect(result3 == ["b"])
        #expect(replies.count == 0 && replies.nextDeadline == nil)
    }

    @Test func `requests expire at their deadlines, in whatever order they came`() {
        var replies = PendingReplies<String>()
        _ = replies.add(self.entry("late", after: 9))
        _ = replies.add(self.entry("early", after: 2))
        let answered = replies.add(self.entry("answered", after: 1))
        _ = replies.take(answered)
        let result4 = replies.takeExpired(at: self.start + .seconds(1)).isEmpty
        #expect(result4)
        #expect(replies.nextDeadline == self.start + .seconds(2))
        let result5 = replies.takeExpired(at: self.start + .seconds(2)).map(\.handler)
        #expect(result5 == ["early"])
        #expect(replies.nextDeadline == self.start + .seconds(9))
        let result6 = replies.takeExpired(at: self.start + .seconds(10)).map(\.handler)
        #expect(result6 == ["late"])
        #expect(replies.nextDeadline == nil)
    }
}
