import KVEvents
import NIOCore
import Testing

@Suite struct EngineBatchTests {
    /// A batch around events that are already written.
    private func batch(_ events: [ByteBuffer], rank: UInt64? = 0) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeMessagePack(arrayCount: rank == nil ? 2 : 3)
        bytes.writeMessagePack(1.5)
        bytes.writeMessagePack(arrayCount: events.count)
        for event in events { bytes.writeImmutableBuffer(event) }
        if let rank { bytes.writeMessagePack(rank) }
        return bytes
    }

    private func stored(_ write: (inout ByteBuffer) -> Void, count: Int) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeMessagePack(arrayCount: count)
        bytes.writeMessagePack("BlockStored")
        bytes.writeMessagePack(arrayCount: 1)
        bytes.writeMessagePack(UInt64(7))
        bytes.writeMessagePackNil()
        bytes.writeMessagePack(arrayCount: 2)
        bytes.writeMessagePack(UInt64(1))
        bytes.writeMessagePack(UInt64(2))
        bytes.writeMessagePack(UInt64(2))
        write(&bytes)
        return bytes
    }

    private let plain = EngineEvent.Stored(hashes: [7], tokens: [1, 2], blockSize: 2)

    @Test func `what newer engines add at the end is passed over`() throws {
        let event = self.stored(
            { bytes in
                bytes.writeMessagePackNil()
                bytes.writeMessagePack("CPU")
                bytes.writeMessagePack("adapter")
                bytes.writeMessagePack(arrayCount: 1)
                bytes.writeMessagePack(mapCount: 1)
                bytes.writeMessagePack("key")
                bytes.writeMessagePack(true)
                bytes.writeMessagePack(UInt64(3))
            },
            count: 10
        )
        var expected = self.plain
        (expected.medium, expected.lora) = ("CPU", "adapter")
        #expect(try EngineBatch(self.batch([event], rank: 3)) == EngineBatch(events: [.stored(expected)], rank: 3))
    }

    @Test func `the mocker's number in the place of a medium is none`() throws {
        let event = self.stored({ $0.writeMessagePack(UInt64(0)) }, count: 6)
        #expect(try EngineBatch(self.batch([event])).events == [.stored(self.plain)])
        var removed = ByteBuffer()
        removed.writeMessagePack(arrayCount: 3)
        removed.writeMessagePack("BlockRemoved")
        removed.writeMessagePack(arrayCount: 1)
        removed.writeMessagePack(Int64(-7))
        removed.writeMessagePack(UInt64(0))
        #expect(
            try EngineBatch(self.batch([removed])).events == [
                .removed(hashes: [18_446_744_073_709_551_609], medium: nil)
            ]
        )
    }

    @Test func `batches may be maps`() throws {
        var bytes = ByteBuffer()
        bytes.writeMessagePack(mapCount: 3)
        bytes.writeMessagePack("ts")
        bytes.writeMessagePack(1.5)
        bytes.writeMessagePack("events")
        bytes.writeMessagePack(arrayCount: 1)
        bytes.writeImmutableBuffer(self.stored({ _ in }, count: 5))
        bytes.writeMessagePack("data_parallel_rank")
        bytes.writeMessagePack(UInt64(2))
        #expect(try EngineBatch(bytes) == EngineBatch(events: [.stored(self.plain)], rank: 2))
    }

    @Test func `an unknown kind is named`() throws {
        var event = ByteBuffer()
        event.writeMessagePack(arrayCount: 2)
        event.writeMessagePack("BlockMoved")
        event.writeMessagePack(UInt64(1))
        #expect(try EngineBatch(self.batch([event])).events == [.unknown("BlockMoved")])
    }

    @Test func `hashes of bytes say what to set`() {
        var event = ByteBuffer()
        event.writeMessagePack(arrayCount: 2)
        event.writeMessagePack("BlockRemoved")
        event.writeMessagePack(arrayCount: 1)
        event.writeMessagePack(binary: ByteBuffer(repeating: 1, count: 32))
        let error = #expect(throws: EngineMessageError.self) { try EngineBatch(self.batch([event])) }
        #expect(error?.description.contains("VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES=1") == true)
    }

    @Test func `bad bytes are refused and crash nothing`() throws {
        let whole = self.batch([self.stored({ _ in }, count: 5)])
        _ = try EngineBatch(whole)
        for length in 0..<whole.readableBytes {
            #expect(throws: EngineMessageError.self, "cut at \(length)") {
                try EngineBatch(whole.getSlice(at: 0, length: length) ?? ByteBuffer())
            }
        }
        for place in 0..<whole.readableBytes {
            for value in UInt8.min...UInt8.max {
                var bytes = whole
                bytes.setInteger(value, at: place)
                var machine = RelayMachine(rules: .v161(blockSize: 2), sequence: EngineSequence(canReplay: false))
                _ = machine.published([ByteBuffer(), ByteBuffer(integer: UInt64(0)), bytes])
            }
        }
        #expect(throws: EngineMessageError.self) { try EngineBatch(self.batch([], rank: nil)) }
        #expect(throws: EngineMessageError.self) { try EngineBatch(self.batch([ByteBuffer(bytes: [0x90])])) }
    }

    @Test func `frames that are no message are refused`() throws {
        let number = ByteBuffer(integer: UInt64(5))
        let payload = ByteBuffer(string: "x")
        let message = EngineMessage(sequence: 5, payload: payload)
        #expect(try EngineMessage(published: [ByteBuffer(string: "topic"), number, payload]) == message)
        #expect(throws: EngineMessageError.self) { try EngineMessage(published: [number, payload]) }
        #expect(throws: EngineMessageError.self) { try EngineMessage(published: []) }
        #expect(throws: EngineMessageError.self) {
            try EngineMessage(published: [ByteBuffer(), ByteBuffer(integer: UInt32(5)), payload])
        }
        #expect(try EngineMessage.replayed([ByteBuffer(), number, payload]) == message)
        #expect(try EngineMessage.replayed([number, payload]) == message)
        #expect(try EngineMessage.replayed([ByteBuffer(), ByteBuffer(integer: UInt64.max), ByteBuffer()]) == nil)
        #expect(throws: EngineMessageError.self) { try EngineMessage.replayed([number]) }
        #expect(EngineMessage.replayRequest(from: 1) == [ByteBuffer(), ByteBuffer(bytes: [0, 0, 0, 0, 0, 0, 0, 1])])
    }
}
