import Foundation
import KVEvents
import KVRouter
import NIOCore
import Testing

@Suite struct EventFramesTests {
    @Test(arguments: ["1.2.1", "1.6.1"])
    func `Messages of ZeroMQ have the frames of a real publisher`(version: String) throws {
        for message in try EventFixture.frames(version) {
            let envelope = try EventEnvelope(frames: message.frames)
            #expect(envelope.topic == message.topic)
            #expect(envelope.publisher == message.publisher)
            #expect(envelope.frames.map(\.hex) == message.frames.map(\.hex))
        }
    }

    @Test(arguments: ["1.2.1", "1.6.1"])
    func `KV events of ZeroMQ are read`(version: String) throws {
        let messages = try EventFixture.frames(version).filter { $0.topic == KVEventTopic.events.rawValue }
        #expect(!messages.isEmpty)
        for message in messages {
            #expect(!(try RouterEvent.read(try EventEnvelope(frames: message.frames).payload)).isEmpty)
        }
    }

    @Test func `What is no message of the plane is refused with a reason`() throws {
        let good = EventEnvelope(
            publisher: 1,
            sequence: 2,
            publishedAt: 3,
            topic: "t",
            payload: ByteBuffer(string: "x")
        )
        #expect(try EventEnvelope(frames: good.frames) == good)
        var version = good.frames
        version[3].setInteger(UInt8(2), at: 0)
        var length = good.frames
        length[3].writeInteger(UInt8(0))
        let cases: [([ByteBuffer], String)] = [
            ([], "4 frames, not 0"), (Array(good.frames.dropLast()), "4 frames, not 3"),
            (good.frames.dropLast() + [ByteBuffer(string: "abc")], "too short"), (version, "version 2"),
            (length, "announces"), (good.frames.dropLast() + [ByteBuffer(hex: "0100000001c0")], "byte"),
        ]
        for (frames, reason) in cases {
            let error = #expect(throws: MessagePackError.self) { try EventEnvelope(frames: frames) }
            #expect(error?.description.contains(reason) == true, "\(reason): \(String(describing: error))")
        }
    }
}
