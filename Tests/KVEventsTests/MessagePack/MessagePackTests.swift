import KVEvents
import KVRouter
import NIOCore
import Testing

@Suite struct MessagePackTests {
    /// Values and bytes from the format's specification: the border of each width.
    static let integers: [(UInt64, String)] = [
        (0, "00"), (127, "7f"), (128, "cc80"), (255, "ccff"), (256, "cd0100"), (65_535, "cdffff"),
        (65_536, "ce00010000"), (4_294_967_295, "ceffffffff"), (4_294_967_296, "cf0000000100000000"),
        (.max, "cfffffffffffffffff"),
    ]
    static let signed: [(Int64, String)] = [
        (-1, "ff"), (-32, "e0"), (-33, "d0df"), (-128, "d080"), (-129, "d1ff7f"), (-32_768, "d18000"),
        (-32_769, "d2ffff7fff"), (-2_147_483_648, "d280000000"), (-2_147_483_649, "d3ffffffff7fffffff"),
        (.min, "d38000000000000000"), (7, "07"),
    ]

    @Test(arguments: integers)
    func `Integers take the shortest form`(value: UInt64, hex: String) throws {
        var buffer = ByteBuffer()
        buffer.writeMessagePack(value)
        #expect(buffer.hex == hex)
        var reader = MessagePackReader(buffer)
        #expect(try reader.readUInt64() == value)
        try reader.finish()
    }

    @Test(arguments: signed)
    func `Integers below zero are written, and refused where none may be`(value: Int64, hex: String) throws {
        var buffer = ByteBuffer()
        buffer.writeMessagePack(value)
        #expect(buffer.hex == hex)
        var reader = MessagePackReader(buffer)
        #expect(try reader.readInt64() == value)
        guard value < 0 else { return }
        #expect(throws: MessagePackError("a number below zero where none may be", at: 0)) {
            var reader = MessagePackReader(buffer)
            _ = try reader.readUInt64()
        }
    }

    @Test func `Every width of an integer is read, not only the shortest`() throws {
        for hex in ["05", "cc05", "cd0005", "ce00000005", "cf0000000000000005", "d005", "d10005", "d200000005"] {
            var reader = MessagePackReader(ByteBuffer(hex: hex))
            #expect(try reader.readUInt64() == 5)
        }
    }

    @Test(arguments: [(0, "a0"), (31, "bf"), (32, "d920"), (255, "d9ff"), (256, "da0100"), (65_536, "db00010000")])
    func `Strings take the shortest form`(count: Int, head: String) throws {
        let text = String(repeating: "x", count: count)
        var buffer = ByteBuffer()
        buffer.writeMessagePack(text)
        #expect(buffer.hex.hasPrefix(head))
        #expect(buffer.readableBytes == head.count / 2 + count)
        var reader = MessagePackReader(buffer)
        #expect(try reader.readString() == text)
    }

    @Test(arguments: [(0, "c400"), (255, "c4ff"), (256, "c50100"), (65_536, "c600010000")])
    func `Binary data takes the shortest form`(count: Int, head: String) throws {
        let bytes = ByteBuffer(repeating: 7, count: count)
        var buffer = ByteBuffer()
        buffer.writeMessagePack(binary: bytes)
        #expect(buffer.hex.hasPrefix(head))
        var reader = MessagePackReader(buffer)
        #expect(try reader.readBinary() == bytes)
    }

    @Test func `Heads of containers take the shortest form`() {
        var buffer = ByteBuffer()
        for count in [0, 15, 16, 65_536] { buffer.writeMessagePack(arrayCount: count) }
        for count in [0, 15, 16, 65_536] { buffer.writeMessagePack(mapCount: count) }
        #expect(buffer.hex == "909fdc0010dd00010000" + "808fde0010df00010000")
    }

    @Test func `Other values`() throws {
        var buffer = ByteBuffer()
        buffer.writeMessagePackNil()
        buffer.writeMessagePack(true)
        buffer.writeMessagePack(false)
        buffer.writeMessagePack(1.5)
        #expect(buffer.hex == "c0c3c2cb3ff8000000000000")
        buffer.writeBytes([0xCA, 0x3F, 0x80, 0, 0])
        var reader = MessagePackReader(buffer)
        let isNil = [try reader.readNil(), try reader.readNil()]
        #expect(isNil == [true, false])
        let booleans = [try reader.readBool(), try reader.readBool()]
        #expect(booleans == [true, false])
        #expect(try reader.readDouble() == 1.5)
        #expect(try reader.readDouble() == 1)
        #expect(reader.isAtEnd)
    }

    @Test(arguments: [
        "c0", "07", "a3616263", "c403010203", "93010203", "81a16101", "d40501", "d8050102030405060708090a0b0c0d0e0f10",
        "c70305010203", "9291c081a1789102", "cb3ff8000000000000",
    ])
    func `Unknown values are passed over`(hex: String) throws {
        var reader = MessagePackReader(ByteBuffer(hex: hex + "2a"))
        try reader.skip()
        #expect(try reader.readUInt64() == 42)
    }

    @Test func `Lengths are believed only as far as there are bytes`() {
        for hex in ["ddffffffff", "dfffffffff", "dbffffffff", "c6ffffffff", "c9ffffffff05", "9f0102", "8fa161"] {
            #expect(throws: MessagePackError.self) {
                var reader = MessagePackReader(ByteBuffer(hex: hex))
                try reader.skip()
            }
        }
    }

    @Test func `Deep nesting costs no stack`() throws {
        var reader = MessagePackReader(ByteBuffer(bytes: [UInt8](repeating: 0x91, count: 1_000_000) + [0xC0]))
        try reader.skip()
        #expect(reader.isAtEnd)
    }

    @Test func `Random bytes never crash a reader, and broken messages are refused`() throws {
        var random = SystemRandomNumberGenerator()
        let valid = try EventFixture.messages("1.2.1", "kv-events").map(\.payload)
        for round in 0..<3000 {
            var bytes: [UInt8]
            if round.isMultiple(of: 2), let message = valid.randomElement(using: &random) {
                bytes = Array(message.readableBytesView)
                for _ in 0..<Int.random(in: 1...4) {
                    bytes[Int.random(in: bytes.indices)] = UInt8.random(in: 0...255)
                }
                bytes.removeLast(Int.random(in: 0...min(8, bytes.count - 1)))
            } else {
                bytes = (0..<Int.random(in: 0...60)).map { _ in UInt8.random(in: 0...255) }
            }
            let buffer = ByteBuffer(bytes: bytes)
            var reader = MessagePackReader(buffer)
            while (try? reader.skip()) != nil, !reader.isAtEnd {}
            if let envelope = try? EventEnvelope(buffer) { _ = try? RouterEvent.read(envelope.payload) }
            _ = try? RouterEvent.read(buffer)
            _ = try? ActiveSequenceEvent.read(buffer)
            _ = try? WorkerLoad(buffer)
        }
        let message = try #require(valid.first)
        for count in 0..<message.readableBytes {
            let cut = try #require(message.getSlice(at: message.readerIndex, length: count))
            #expect(throws: MessagePackError.self) { _ = try EventEnvelope(cut) }
        }
    }
}
