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
        #expect(over.delete == ["a"])
    }

    @Test("a jump of the wall clock deletes nothing, and a touch brings the record back")
    func clockJump() {
        var view = FileBucketView()
        _ = view.listed([self.entry(modified: 100)], wallClock: .seconds(100), now: self.start)
        view.read("a", self.record)
        let jumped = view.listed([self.entry(modified: 100)], wallClock: .seconds(9000), now: self.start + .seconds(1))
        #expect(jumped == FileBucketView.Actions())
        #expect(view.records == [])
        _ = view.listed([self.entry(modified: 9002)], wallClock: .seconds(9003), now: self.start + .seconds(3))
        #expect(view.records == [self.record])
    }
}
