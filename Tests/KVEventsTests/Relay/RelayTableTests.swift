import Foundation
import KVEvents
import KVRouter
import NIOCore
import Testing

/// What the relays of real Dynamo made of hand-made batches, against ours.
@Suite struct RelayTableTests {
    static func fixture(_ name: String) throws -> [String: Any] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Fixtures")
        let data = try Data(contentsOf: folder.appending(path: name))
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    static func frames(_ row: [String: Any]) throws -> [ByteBuffer] {
        try #require(row["frames_hex"] as? [String]).map { text in
            let digits = Array(text.utf8)
            return ByteBuffer(
                bytes: try stride(from: 0, to: digits.count, by: 2).map { index in
                    try #require(UInt8(String(decoding: digits[index..<index + 2], as: UTF8.self), radix: 16))
                }
            )
        }
    }

    private static func number(_ value: Any?) -> UInt64? { (value as? NSNumber)?.uint64Value }

    /// The event of a fixture in our types.
    private static func event(_ object: [String: Any]) throws -> RouterEvent {
        let event = try #require(object["event"] as? [String: Any])
        let change: KVEvent.Change
        if event["data"] as? String == "cleared" {
            change = .cleared
        } else if let data = event["data"] as? [String: Any], let stored = data["stored"] as? [String: Any] {
            let blocks = try #require(stored["blocks"] as? [[String: Any]]).map { block in
                StoredBlock(
                    block: BlockHash(rawValue: try #require(Self.number(block["block_hash"]))),
                    tokens: TokensHash(rawValue: try #require(Self.number(block["tokens_hash"])))
                )
            }
            let parent = Self.number(stored["parent_hash"]).map { BlockHash(rawValue: $0) }
            change = .stored(parent: parent, blocks: blocks)
        } else {
            let data = try #require(event["data"] as? [String: Any])
            let removed = try #require(data["removed"] as? [String: Any])
            let hashes = try #require(removed["block_hashes"] as? [NSNumber])
            change = .removed(hashes.map { BlockHash(rawValue: $0.uint64Value) })
        }
        return RouterEvent(
            worker: try #require(Self.number(object["worker_id"])),
            tier: try #require((object["storage_tier"] as? String).flatMap(StorageTier.init)),
            event: KVEvent(
                id: try #require(Self.number(event["event_id"])),
                rank: UInt32(try #require(Self.number(event["dp_rank"]))),
                change: change
            )
        )
    }

    @Test(arguments: [("1.2.1", RelayRules.v121(blockSize: 4)), ("1.6.1", .v161(blockSize: 4))])
    func `every row gives the same events`(_ release: String, _ rules: RelayRules) throws {
        let rows = try #require(
            try Self.fixture("zmq-vllm-relay-table-\(release).json")["rows"] as? [[String: Any]]
        )
        #expect(rows.count == 22)
        var machine = RelayMachine(rules: rules, sequence: EngineSequence(canReplay: false))
        _ = machine.connected()
        var (id, sequence): (UInt64, UInt64) = (0, 0)
        for row in rows {
            let name = try #require(row["input"] as? String)
            let expected = try #require(row["published_router_events"] as? [[String: Any]]).map { try Self.event($0) }
            var events: [RouterEvent] = []
            var frames = try Self.frames(row)
            // The message of two frames used up a number, which is a gap to us: counted anew without it.
            if frames.count == 3 {
                frames[1] = ByteBuffer(integer: sequence)
                sequence += 1
            }
            for case .publish(let changes) in machine.published(frames) {
                for change in changes {
                    id += 1
                    events.append(
                        RouterEvent(
                            worker: expected.first?.worker ?? 0,
                            tier: change.tier,
                            event: KVEvent(id: id, rank: change.rank, change: change.change)
                        )
                    )
                }
            }
            #expect(events == expected, "\(name)")
        }
        // Bytes as hashes, no rank, two frames, cleared as a string.
        #expect(machine.statistics.refusedMessages == 4)
    }

    @Test(arguments: ["1.2.1", "1.6.1"])
    func `the mocker's events are read`(_ release: String) throws {
        let messages = try #require(
            try Self.fixture("zmq-vllm-kv-events-mocker-\(release).json")["messages"] as? [[String: Any]]
        )
        let rules: RelayRules = release == "1.2.1" ? .v121(blockSize: 16) : .v161(blockSize: 16)
        var machine = RelayMachine(rules: rules, sequence: EngineSequence(canReplay: false))
        var held: Set<BlockHash> = []
        for message in messages {
            for action in machine.published(try Self.frames(message)) {
                guard case .publish(let changes) = action else {
                    Issue.record("\(action)")
                    continue
                }
                for change in changes {
                    switch change.change {
                    case .stored(let parent, let blocks):
                        // The mocker's block hashes are the chained ones, so its tokens prove ours.
                        #expect(blocks.map(\.block) == BlockHashing.chained(blocks.map(\.tokens), after: parent))
                        held.formUnion(blocks.map(\.block))
                    case .removed(let blocks): for block in blocks { #expect(held.remove(block) != nil) }
                    case .cleared: Issue.record("not cleared")
                    }
                }
            }
        }
        #expect(machine.statistics.messages == messages.count)
        #expect(machine.statistics.refusedMessages == 0)
        #expect(machine.statistics.changes >= 2)
    }
}
