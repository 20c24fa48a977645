import RequestPlane
import Testing

@testable import Discovery

@Suite("What a listing of a bucket means")
struct FileBucketViewTests {
    private let start = ContinuousClock.now
    private let record = DiscoveryRecord.model(
        ModelRecord(
            endpoint: EndpointID(namespace: "n", component: "c", name: "e"),
            id: InstanceID(rawValue: 1),
            card: .text(name: "m", kind: .chat, contextLength: 1)
        )
    )

    private func entry(inode: UInt64 = 1, size: Int64 = 10, modified: Int) -> FileStore.Entry {
        FileStore.Entry(name: "a", inode: inode, size: size, modified: .seconds(modified))
    }

    @Test("a file is read once, and again when it was replaced or has grown, but not when it was touched")
    func reading() {
        var view = FileBucketView()
        #expect(view.listed([self.entry(modified: 100)], wallClock: .seconds(100), now: self.start).read == ["a"])
        view.read("a", self.record)
        #expect(view.listed([self.entry(modified: 103)], wallClock: .seconds(103), now: self.start).read == [])
        #expect(view.records == [self.record])
        #expect(
            view.listed([self.entry(inode: 2, modified: 104)], wallClock: .seconds(104), now: self.start).read == ["a"]
        )
        #expect(view.records == [])
        view.read("a", self.record)
        let grown = self.entry(inode: 2, size: 11, modified: 105)
        #expect(view.listed([grown], wallClock: .seconds(105), now: self.start).read == ["a"])
        _ = view.listed([], wallClock: .seconds(106), now: self.start)
        #expect(view.records == [])
    }

    @Test("a file that nobody touches counts no more, and is deleted when it was seen so for as long")
    func staleness() {
        var view = FileBucketView()
        _ = view.listed([self.entry(modified: 100)], wallClock: .seconds(105), now: self.start)
        view.read("a", self.record)
        #expect(view.records == [self.record])
        let stale = view.listed([self.entry(modified: 100)], wallClock: .seconds(111), now: self.start + .seconds(6))
        #expect(stale == FileBucketView.Actions())
        #expect(view.records == [])
        let over = view.listed([self.entry(modified: 100)], wallClock: .seconds(116), now: self.start + .seconds(11))
        #expect(over.delete == [self.entry(modified: 100)])
    }

    @Test("a jump of the wall clock, in either direction, takes nobody off the list")
    func clockJump() {
        var view = FileBucketView()
        _ = view.listed([self.entry(modified: 100)], wallClock: .seconds(100), now: self.start)
        view.read("a", self.record)
        for (clock, passed) in [(9000, 1), (5, 2)] {
            let jumped = view.listed(
                [self.entry(modified: 100)],
                wallClock: .seconds(clock),
                now: self.start + .seconds(passed)
            )
            #expect(jumped == FileBucketView.Actions())
            #expect(view.records == [self.record])
        }
        _ = view.listed([self.entry(modified: 8)], wallClock: .seconds(8), now: self.start + .seconds(3))
        #expect(view.records == [self.record])
        _ = view.listed([self.entry(modified: 8)], wallClock: .seconds(9), now: self.start + .seconds(13))
        #expect(view.records == [])
    }

    @Test("a file that was old when it was first seen counts at once no more; a touch brings it back")
    func oldAtFirst() {
        var view = FileBucketView()
        let first = view.listed([self.entry(modified: 100)], wallClock: .seconds(200), now: self.start)
        #expect(first == FileBucketView.Actions(read: ["a"]))
        view.read("a", self.record)
        #expect(view.records == [])
        _ = view.listed([self.entry(modified: 201)], wallClock: .seconds(201), now: self.start + .seconds(1))
        #expect(view.records == [self.record])
    }

    @Test("a time of modification in the future lasts no longer than any other")
    func future() {
        var view = FileBucketView()
        let entry = self.entry(modified: 1_000_000)
        _ = view.listed([entry], wallClock: .seconds(100), now: self.start)
        view.read("a", self.record)
        _ = view.listed([entry], wallClock: .seconds(109), now: self.start + .seconds(9))
        #expect(view.records == [self.record])
        let over = view.listed([entry], wallClock: .seconds(111), now: self.start + .seconds(11))
        #expect(view.records == [])
        #expect(over.delete == [entry])
    }
}
