import RequestPlane
import TestSupport
import Testing

@testable import Discovery

@Suite("The readers of a watch")
struct SnapshotWatchersTests {
    private func records(_ id: Int) -> [DiscoveryRecord] {
        DiscoveryConformance.records(namespace: "n", id: InstanceID(rawValue: UInt64(id)))
    }

    @Test("a reader that is cancelled while it is offered something blocks nobody")
    func cancelledWhileOffered() async throws {
        let watchers = SnapshotWatchers()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for round in 0..<100_000 {
                    watchers.offer(self.records(round))
                    try Task.checkCancellation()
                }
            }
            group.addTask {
                while !Task.isCancelled {
                    let reader = Task { for await _ in watchers.add(.all) { await Task.yield() } }
                    await Task.yield()
                    reader.cancel()
                    await reader.value
                }
            }
            try await group.next()
            group.cancelAll()
        }
        #expect(!watchers.isWatched)
    }

    @Test("who has gone is no reader any more; who comes late gets the last state, or an end")
    func comingAndGoing() async {
        let watchers = SnapshotWatchers()
        watchers.offer(self.records(1))
        do {
            var first = watchers.add(.all).makeAsyncIterator()
            #expect(watchers.isWatched)
            #expect(await first.next() == DiscoverySnapshot(self.records(1)))
        }
        #expect(!watchers.isWatched)
        var second = watchers.add(.all).makeAsyncIterator()
        #expect(await second.next() == DiscoverySnapshot(self.records(1)))
        watchers.finish()
        #expect(await second.next() == nil)
        var third = watchers.add(.all).makeAsyncIterator()
        #expect(await third.next() == nil)
    }
}
