import Foundation
import NIOCore
import Testing

/// What real Dynamo processes have published and answered.
enum EventFixture {
    struct Message {
        var kind: String
        var subject: String
        var payload: ByteBuffer
        /// The envelope as JSON, with the payload decoded in place.
        var decoded: [String: Any]
    }

    struct Exchange {
        var name: String
        var request: ByteBuffer
        /// The answer as JSON.
        var answer: ByteBuffer
    }

    private static func file(_ name: String) throws -> [String: Any] {
        let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Fixtures/\(name).json")
        return try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
    }

    /// Messages of NATS core whose kind begins with a text.
    static func messages(_ version: String, _ kind: String) throws -> [Message] {
        let list = try #require(try self.file("nats-events-\(version)")["messages"] as? [[String: Any]])
        let messages = try list.map { entry in
            let text = try #require(entry["payload_base64"] as? String)
            return Message(
                kind: try #require(entry["kind"] as? String),
                subject: try #require(entry["subject"] as? String),
                payload: ByteBuffer(bytes: try #require(Data(base64Encoded: text))),
                decoded: try #require(entry["decoded"] as? [String: Any])
            )
        }.filter { $0.kind.hasPrefix(kind) }
        try #require(!messages.isEmpty)
        return messages
    }

    struct Frames {
        var topic: String
        var publisher: UInt64
        var frames: [ByteBuffer]
    }

    /// Messages of Dynamo's own event plane on ZeroMQ.
    static func frames(_ version: String) throws -> [Frames] {
        let list = try #require(try self.file("zmq-event-plane-\(version)")["messages"] as? [[String: Any]])
        try #require(!list.isEmpty)
        return try list.map { entry in
            let decoded = try #require(entry["decoded"] as? [String: Any])
            return Frames(
                topic: try #require(entry["topic"] as? String),
                publisher: try #require(decoded["publisher_id"] as? NSNumber).uint64Value,
                frames: try #require(entry["frames_hex"] as? [String]).map { ByteBuffer(hex: $0) }
            )
        }
    }

    /// Questions to a real worker.
    static func exchanges(_ version: String) throws -> [Exchange] {
        let list = try #require(try self.file("worker-kv-query-\(version)")["exchanges"] as? [[String: Any]])
        try #require(!list.isEmpty)
        return try list.map { entry in
            let frames = try #require(entry["frames"] as? [[String: Any]])
            let bodies = frames.compactMap { ($0["body"] as? [String: Any])?["data"] }
            return Exchange(
                name: try #require(entry["case"] as? String),
                request: try self.json(try #require(entry["request"])),
                answer: try self.json(try #require(bodies.first))
            )
        }
    }

    static func json(_ value: Any) throws -> ByteBuffer {
        ByteBuffer(bytes: try JSONSerialization.data(withJSONObject: value, options: [.sortedKeys, .fragmentsAllowed]))
    }

    /// The same JSON with its keys in order, so that two texts can be compared.
    static func sorted(_ text: ByteBuffer) throws -> ByteBuffer {
        try self.json(try JSONSerialization.jsonObject(with: Data(text.readableBytesView), options: .fragmentsAllowed))
    }
}

extension ByteBuffer {
    /// The bytes in hexadecimal, for comparisons that read well.
    var hex: String {
        self.readableBytesView.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    init(hex: String) {
        var rest = hex[...]
        self.init()
        while let byte = UInt8(rest.prefix(2), radix: 16) {
            self.writeInteger(byte)
            rest = rest.dropFirst(2)
        }
    }
}
