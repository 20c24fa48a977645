import FoundationEssentials
import Testing

@testable import KVRouter

@Suite("Snapshots of the radix tree")
struct RadixSnapshotTests {
    @Test("a snapshot of 1.2.1 is read completely, written equal, and builds the tree")
    func fixture() throws {
        let bytes = try Array(KVFixture.load("jetstream-radix-snapshot-1.2.1.bin"))
        let events = try RadixSnapshot.decode(bytes)
        #expect(events.count == 9)
        #expect(events.map(\.event.id) == Array(0...8))
        #expect(RadixSnapshot.encode(events) == bytes)

        var indexer = Indexer(numbering: .ignored)
        #expect(indexer.restore(events).isEmpty)
        #expect(indexer.tree.blockCount == 25)
        let again = try RadixSnapshot.decode(RadixSnapshot.encode(indexer.tree.dump()))
        var copy = RadixTree()
        for event in again { #expect(copy.apply(event) == nil) }
        #expect(copy.blockCounts == indexer.tree.blockCounts)
    }

    @Test("all kinds and tiers go through")
    func kinds() throws {
        let events: [RouterEvent] = [
            .stored(1, tier: .hostPinned, after: 3, blocks(1, 2)), .removed(2, tier: .disk, 1, 2), .cleared(3, rank: 7),
            .stored(4, tier: .external, []),
        ]
        #expect(try RadixSnapshot.decode(RadixSnapshot.encode(events)) == events)
    }

    @Test("a body cut short anywhere, or changed anywhere, is refused or read, never a crash")
    func broken() throws {
        let bytes = try Array(KVFixture.load("jetstream-radix-snapshot-1.2.1.bin"))
        for end in bytes.indices {
            #expect(throws: RadixSnapshotError.self) { try RadixSnapshot.decode(Array(bytes[..<end])) }
            var changed = bytes
            changed[end] ^= 0xFF
            _ = try? RadixSnapshot.decode(changed)
        }
        #expect(throws: RadixSnapshotError(offset: 839, reason: "1 bytes are left over")) {
            try RadixSnapshot.decode(bytes + [0])
        }
    }
}
