import KVEvents
import KVRouter
import NIOCore
import RequestPlane
import Testing

@Suite struct EventWireTests {
    static let releases: [(String, DynamoEventForm)] = [("1.2.1", .release12), ("1.6.1", .release16)]
    let endpoint = EndpointID(namespace: "dynamo", component: "backend", name: "generate")

    @Test(arguments: releases)
    func `Events have the bytes and the subject of a real publisher`(version: String, form: DynamoEventForm) throws {
        for message in try EventFixture.messages(version, "kv-events") {
            #expect(form.subject(.events, of: self.endpoint) == message.subject)
            var envelope = try EventEnvelope(message.payload)
            #expect(envelope.topic == KVEventTopic.events.rawValue)
            let events = try RouterEvent.read(envelope.payload)
            #expect(events.count >= 1)
            envelope.payload = ByteBuffer()
            envelope.payload.writeRouterEvents(events, form: form)
            var written = ByteBuffer()
            written.writeEventEnvelope(envelope)
            #expect(written == message.payload, "\(message.kind)")
        }
    }

    /// What is reserved for an event must hold it: more would end the program.
    @Test(arguments: DynamoEventForm.allCases)
    func `The largest event of each kind is written and read`(form: DynamoEventForm) throws {
        let all = StoredBlock(block: BlockHash(rawValue: .max), tokens: TokensHash(rawValue: .max))
        for count in [0, 1, 15, 16, 65_535, 65_536] {
            let changes: [KVEvent.Change] = [
                .stored(parent: BlockHash(rawValue: .max), blocks: Array(repeating: all, count: count)),
                .removed(Array(repeating: BlockHash(rawValue: .max), count: count)), .cleared,
            ]
            for change in changes {
                let event = RouterEvent(
                    worker: .max,
                    tier: .hostPinned,
                    event: KVEvent(id: .max, rank: .max, change: change)
                )
                var written = ByteBuffer()
                written.writeRouterEvents([event], form: form)
                #expect(try RouterEvent.read(written) == [event])
                let envelope = EventEnvelope(
                    publisher: .max,
                    sequence: .max,
                    publishedAt: .max,
                    topic: String(repeating: "ü", count: 20_000),
                    payload: written
                )
                var message = ByteBuffer()
                message.writeEventEnvelope(envelope)
                #expect(try EventEnvelope(message) == envelope)
            }
        }
    }

    @Test func `What an event says is read`() throws {
        let removed = try #require(try EventFixture.messages("1.2.1", "kv-events:removed").first)
        let event = try #require(try RouterEvent.read(try EventEnvelope(removed.payload).payload).first)
        #expect(event.worker == 15_574_068_586_509_286_514)
        #expect(event.tier == .device)
        #expect(event.event.id == 4)
        guard case .removed(let blocks) = event.event.change else { Issue.record("not removed"); return }
        #expect(blocks.first == BlockHash(rawValue: 18_337_842_291_149_356_857))
        #expect(blocks.count == 7)
    }

    @Test func `Events of Dynamo 1.0 are read`() throws {
        for message in try EventFixture.messages("1.0.2", "kv-events:stored") {
            let event = try #require(try RouterEvent.read(try EventEnvelope(message.payload).payload).first)
            #expect(event.tier == .device)
        }
    }

    @Test(arguments: releases)
    func `Loads have the bytes of a real process`(version: String, form: DynamoEventForm) throws {
        for message in try EventFixture.messages(version, "kv_metrics") {
            #expect(form.subject(.load, of: self.endpoint) == message.subject)
            let envelope = try EventEnvelope(message.payload)
            var written = ByteBuffer()
            written.writeWorkerLoad(try WorkerLoad(envelope.payload))
            #expect(written == envelope.payload)
        }
    }

    @Test(arguments: releases)
    func `Active sequences have the bytes of a real router`(version: String, form: DynamoEventForm) throws {
        for message in try EventFixture.messages(version, "active_sequences_events") {
            #expect(form.subject(.activeSequences, of: self.endpoint) == message.subject)
            let envelope = try EventEnvelope(message.payload)
            let event = try #require(try ActiveSequenceEvent.read(envelope.payload).first)
            var written = ByteBuffer()
            written.writeActiveSequenceEvent(event)
            #expect(written == envelope.payload, "\(message.kind)")
        }
    }

    @Test func `A list of active sequences is read`() throws {
        let event = ActiveSequenceEvent(
            requestID: "r",
            worker: WorkerRank(worker: 1, rank: 2),
            change: .freed,
            router: 3,
            lora: "l"
        )
        var list = ByteBuffer()
        list.writeMessagePack(mapCount: 1)
        list.writeMessagePack(key: "events")
        list.writeMessagePack(arrayCount: 2)
        for _ in 0..<2 { list.writeActiveSequenceEvent(event) }
        #expect(try ActiveSequenceEvent.read(list) == [event, event])
    }

    @Test(arguments: ["publisher_id", "sequence", "published_at", "topic", "payload"])
    func `An envelope without one of its keys is refused`(missing: String) throws {
        var buffer = ByteBuffer()
        buffer.writeMessagePack(mapCount: 4)
        for key in ["publisher_id", "sequence", "published_at", "topic", "payload"] where key != missing {
            buffer.writeMessagePack(key)
            switch key {
            case "topic": buffer.writeMessagePack("kv-events")
            case "payload": buffer.writeMessagePack(binary: ByteBuffer(string: "x"))
            default: buffer.writeMessagePack(UInt64(1))
            }
        }
        let error = #expect(throws: MessagePackError.self) { _ = try EventEnvelope(buffer) }
        #expect(error?.message.contains("`\(missing)`") == true)
    }

    @Test func `The payload may be an array of bytes, and unknown fields are ignored`() throws {
        var buffer = ByteBuffer()
        buffer.writeMessagePack(mapCount: 6)
        buffer.writeMessagePack(key: "payload")
        buffer.writeMessagePack(arrayCount: 3)
        for byte in [1, 2, 200] as [UInt64] { buffer.writeMessagePack(byte) }
        buffer.writeMessagePack(key: "other")
        buffer.writeMessagePack(mapCount: 0)
        buffer.writeMessagePack(key: "topic")
        buffer.writeMessagePack("t")
        for key in ["publisher_id", "sequence", "published_at"] {
            buffer.writeMessagePack(key)
            buffer.writeMessagePack(UInt64(9))
        }
        let envelope = try EventEnvelope(buffer)
        #expect(envelope.payload == ByteBuffer(bytes: [1, 2, 200]))
        #expect(envelope.publisher == 9)
    }

    @Test func `A hash below zero is refused`() {
        var buffer = ByteBuffer()
        buffer.writeMessagePack(mapCount: 2)
        buffer.writeMessagePack(key: "worker_id")
        buffer.writeMessagePack(UInt64(1))
        buffer.writeMessagePack(key: "event")
        buffer.writeMessagePack(mapCount: 2)
        buffer.writeMessagePack(key: "event_id")
        buffer.writeMessagePack(UInt64(1))
        buffer.writeMessagePack(key: "data")
        buffer.writeMessagePack(mapCount: 1)
        buffer.writeMessagePack(key: "removed")
        buffer.writeMessagePack(mapCount: 1)
        buffer.writeMessagePack(key: "block_hashes")
        buffer.writeMessagePack(arrayCount: 1)
        buffer.writeMessagePack(Int64(-7))
        let error = #expect(throws: MessagePackError.self) { _ = try RouterEvent.read(buffer) }
        #expect(error?.message == "a number below zero where none may be")
    }

    // MARK: Queries

    @Test(arguments: releases)
    func `Queries and answers are those of a real worker`(version: String, form: DynamoEventForm) throws {
        for exchange in try EventFixture.exchanges(version) {
            let query = try KVQuery(exchange.request)
            if query.worker > 5 {
                #expect(try EventFixture.sorted(query.body(form)) == EventFixture.sorted(exchange.request))
            }
            let answer = try KVQueryAnswer(exchange.answer)
            #expect(
                try EventFixture.sorted(answer.json(form)) == EventFixture.sorted(exchange.answer),
                "\(exchange.name)"
            )
        }
    }

    @Test func `Answers of Dynamo 1.0 are read`() throws {
        for exchange in try EventFixture.exchanges("1.0.2") { _ = try KVQueryAnswer(exchange.answer) }
    }

    @Test func `What is no answer is refused`() {
        for text in ["", "{}", "[]", #"{"Other":1}"#, #"{"Events":{"events":[{"worker_id":-1}],"last_event_id":0}}"#] {
            #expect(throws: (any Error).self) { _ = try KVQueryAnswer(ByteBuffer(string: text)) }
        }
    }

    @Test func `Cleared is a bare word in JSON too`() throws {
        let event = RouterEvent(worker: .max, tier: .hostPinned, event: KVEvent(id: 1, rank: 2, change: .cleared))
        var buffer = ByteBuffer()
        buffer.writeRouterEventJSON(event, form: .release12)
        #expect(String(buffer: buffer).contains(#""data":"cleared","dp_rank":2"#))
        #expect(try RouterEventJSON.read(buffer) == event)
    }
}
