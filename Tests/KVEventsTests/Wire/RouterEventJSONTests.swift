import KVRouter
import NIOCore
import Testing

@testable import KVEvents

@Suite struct RouterEventJSONTests {
    /// As a real 1.2.1 mocker has published it.
    private static let real =
        #"{"worker_id":15184843187541316259,"storage_tier":"device","event":{"event_id":2,"data":{"stored":"#
        + #"{"parent_hash":15985493852696598542,"start_position":null,"blocks":["#
        + #"{"block_hash":13284390365331057626,"tokens_hash":10261223555242746690,"mm_extra_info":null},"#
        + #"{"block_hash":8081188534006597231,"tokens_hash":2630458598326794241,"mm_extra_info":null}]}},"dp_rank":0}}"#

    private static let event = RouterEvent(
        worker: 15_184_843_187_541_316_259,
        event: KVEvent(
            id: 2,
            change: .stored(
                parent: BlockHash(rawValue: 15_985_493_852_696_598_542),
                blocks: [
                    StoredBlock(
                        block: BlockHash(rawValue: 13_284_390_365_331_057_626),
                        tokens: TokensHash(rawValue: 10_261_223_555_242_746_690)
                    ),
                    StoredBlock(
                        block: BlockHash(rawValue: 8_081_188_534_006_597_231),
                        tokens: TokensHash(rawValue: 2_630_458_598_326_794_241)
                    ),
                ]
            )
        )
    )

    private func written(_ event: RouterEvent) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeRouterEventJSON(event, form: .release12)
        return buffer
    }

    @Test func `an event is written byte for byte as a real worker writes it`() throws {
        #expect(String(buffer: self.written(Self.event)) == Self.real)
        #expect(try RouterEventJSON.read(ByteBuffer(string: Self.real)) == Self.event)
    }

    @Test func `every change and tier comes back`() throws {
        let changes: [KVEvent.Change] = [
            .cleared, .removed([]), .removed([BlockHash(rawValue: .max), BlockHash(rawValue: 0)]),
            .stored(parent: nil, blocks: []),
        ]
        for change in changes {
            for tier in StorageTier.allCases {
                let event = RouterEvent(worker: .max, tier: tier, event: KVEvent(id: .max, rank: 7, change: change))
                #expect(try RouterEventJSON.read(self.written(event)) == event)
            }
        }
    }

    @Test func `the form of 1_0_2 has no tier`() throws {
        let event = RouterEvent(worker: 1, event: KVEvent(id: 0, change: .cleared))
        let text = #"{"worker_id":1,"event":{"event_id":0,"data":"cleared","dp_rank":0}}"#
        #expect(try RouterEventJSON.read(ByteBuffer(string: text)) == event)
    }

    @Test func `fields may be left out, added and in another order`() throws {
        let text =
            #"{"worker_id": 6, "new": {}, "event": {"event_id": 7, "data": {"stored": {"blocks": "#
            + #"[{"tokens_hash": 2, "block_hash": 1}]}}}}"#
        let block = StoredBlock(block: BlockHash(rawValue: 1), tokens: TokensHash(rawValue: 2))
        let expected = RouterEvent(worker: 6, event: KVEvent(id: 7, change: .stored(parent: nil, blocks: [block])))
        #expect(try RouterEventJSON.read(ByteBuffer(string: text)) == expected)
    }

    @Test(arguments: [
        "", "{}", "[]", "null",
        #"{"worker_id":-1,"event":{"event_id":1,"data":"cleared"}}"#,
        #"{"worker_id":1,"event":{"event_id":1,"data":"burned"}}"#,
        #"{"worker_id":1,"event":{"event_id":1,"data":{}}}"#,
        #"{"worker_id":1,"storage_tier":"tape","event":{"event_id":1,"data":"cleared"}}"#,
        #"{"worker_id":1,"event":{"event_id":1,"data":{"removed":{"block_hashes":[-7]}}}}"#,
    ])
    func `what is no event is refused`(text: String) {
        #expect(throws: (any Error).self) { try RouterEventJSON.read(ByteBuffer(string: text)) }
    }
}
