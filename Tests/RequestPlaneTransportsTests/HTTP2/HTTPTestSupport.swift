import NIOCore
import NIOHPACK
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

extension Loopback {
    /// Runs a manager that serves over HTTP.
    static func runHTTP<Result: Sendable>(
        _ configure: (inout NetworkManager.Configuration) -> Void = { _ in },
        _ body: (Loopback) async throws -> Result
    ) async throws -> Result {
        try await self.run(
            {
                $0.mode = .http
                configure(&$0)
            },
            body
        )
    }
}

extension Instance {
    /// The port in the instance's URL.
    var httpPort: Int {
        get throws {
            let authority = try #require(self.transport.value.split(separator: "/").dropFirst().first)
            return try #require(authority.split(separator: ":").last.flatMap { Int($0) })
        }
    }

    /// An instance on a port of loopback, played by a test.
    static func http(port: Int, path: String = "/v1/rpc/run") -> Instance {
        Instance(
            endpoint: EndpointID(namespace: "test", component: "fake", name: "run"),
            id: InstanceID(rawValue: 1),
            transport: .http("http://127.0.0.1:\(port)\(path)")
        )
    }
}

/// The body of a request that wants its answer at an address.
func requestBody(
    address: String = "127.0.0.1:9",
    subject: String = "subject-1",
    id: String = "id-1",
    body: String = #"{"n":2}"#
) -> ByteBuffer {
    let info = CallHomeAddress(address: address, subject: subject, context: id)
    let control = ControlHeader(id: id, info: info.encode())
    var buffer = ByteBuffer()
    buffer.writeTwoPartMessage(TwoPartMessage(header: control.encode(), body: ByteBuffer(string: body)))
    return buffer
}

/// A request of HTTP/1.1 as bytes.
func http1Request(
    _ line: String = "POST /v1/rpc/run HTTP/1.1",
    _ headers: [String] = [],
    body: ByteBuffer = requestBody()
) -> ByteBuffer {
    let all = [line, "host: x", "content-length: \(body.readableBytes)"] + headers
    var buffer = ByteBuffer(string: all.joined(separator: "\r\n") + "\r\n\r\n")
    buffer.writeImmutableBuffer(body)
    return buffer
}

extension RawSocket {
    var receivedText: String { String(decoding: self.received.readableBytesView, as: UTF8.self) }

    /// The status lines that have arrived.
    var statuses: [Int] {
        self.receivedText.split(separator: "HTTP/1.1 ", omittingEmptySubsequences: false).dropFirst()
            .compactMap { Int($0.prefix(3)) }
    }

    func waitForStatuses(_ expected: [Int]) async throws {
        try await eventually("the answers are \(expected); so far \(self.receivedText)") {
            self.statuses.count >= expected.count
        }
        #expect(self.statuses == expected)
    }
}

/// Bytes that real processes of Dynamo exchanged on the HTTP plane.
enum HTTPFixture {
    private static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures")

    static func bytes(_ name: String) throws -> ByteBuffer {
        let text = try String(contentsOf: self.directory.appending(path: "\(name).hex"), encoding: .utf8)
        let digits = Array(text.utf8.filter { $0 > 0x20 })
        var buffer = ByteBuffer()
        for index in stride(from: 0, to: digits.count - 1, by: 2) {
            let byte = UInt8(String(decoding: digits[index...index + 1], as: UTF8.self), radix: 16)
            buffer.writeInteger(try #require(byte))
        }
        return buffer
    }
}

/// A frame of HTTP/2, read and written without the library under test.
struct RawHTTP2Frame: Hashable {
    var type: UInt8
    var flags: UInt8 = 0
    var stream: UInt32 = 0
    var payload = ByteBuffer()

    static let (data, headers, reset, settings, ping, goAway): (UInt8, UInt8, UInt8, UInt8, UInt8, UInt8) = (
        0, 1, 3, 4, 6, 7
    )
    static let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    /// The whole frames in a byte stream; a client's preface is skipped.
    static func all(in bytes: ByteBuffer) -> [RawHTTP2Frame] {
        var bytes = bytes
        if bytes.getString(at: bytes.readerIndex, length: 24) == self.preface { bytes.moveReaderIndex(forwardBy: 24) }
        var frames: [RawHTTP2Frame] = []
        while let high = bytes.getInteger(at: bytes.readerIndex, as: UInt8.self),
            let low = bytes.getInteger(at: bytes.readerIndex + 1, as: UInt16.self),
            bytes.readableBytes >= 9 + Int(high) << 16 + Int(low)
        {
            bytes.moveReaderIndex(forwardBy: 3)
            guard let type: UInt8 = bytes.readInteger(), let flags: UInt8 = bytes.readInteger(),
                let stream: UInt32 = bytes.readInteger(),
                let payload = bytes.readSlice(length: Int(high) << 16 + Int(low))
            else { break }
            frames.append(RawHTTP2Frame(type: type, flags: flags, stream: stream, payload: payload))
        }
        return frames
    }

    var encoded: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(UInt8(self.payload.readableBytes >> 16))
        buffer.writeInteger(UInt16(truncatingIfNeeded: self.payload.readableBytes))
        buffer.writeMultipleIntegers(self.type, self.flags, self.stream)
        buffer.writeImmutableBuffer(self.payload)
        return buffer
    }

    static func settings(_ values: [(UInt16, UInt32)] = []) -> ByteBuffer {
        var payload = ByteBuffer()
        for (name, value) in values { payload.writeMultipleIntegers(name, value) }
        return RawHTTP2Frame(type: self.settings, payload: payload).encoded
    }

    static let settingsAcknowledgement = RawHTTP2Frame(type: settings, flags: 1).encoded

    /// The values of a settings frame.
    var settings: [UInt16: UInt32] {
        var payload = self.payload
        var values: [UInt16: UInt32] = [:]
        while let (name, value) = payload.readMultipleIntegers(as: (UInt16, UInt32).self) { values[name] = value }
        return values
    }

    /// A response without a body.
    static func response(_ status: Int, stream: UInt32) -> ByteBuffer {
        var block = ByteBuffer(bytes: [0x08, 0x03])
        block.writeString(String(status))
        return RawHTTP2Frame(type: self.headers, flags: 0x05, stream: stream, payload: block).encoded
    }

    static func goAway(last: UInt32) -> ByteBuffer {
        var payload = ByteBuffer()
        payload.writeMultipleIntegers(last, UInt32(0))
        return RawHTTP2Frame(type: self.goAway, payload: payload).encoded
    }

    static func reset(stream: UInt32, code: UInt32) -> ByteBuffer {
        RawHTTP2Frame(type: self.reset, stream: stream, payload: ByteBuffer(integer: code)).encoded
    }
}

extension RawSocket {
    var frames: [RawHTTP2Frame] { RawHTTP2Frame.all(in: self.received) }

    func frames(_ type: UInt8) -> [RawHTTP2Frame] { self.frames.filter { $0.type == type } }

    /// The streams on which a request has arrived whole.
    var requestStreams: [UInt32] {
        self.frames.filter { $0.type <= RawHTTP2Frame.headers && $0.flags & 1 == 1 }.map(\.stream)
    }

    func waitForFrames(_ type: UInt8, count: Int = 1) async throws {
        try await eventually("\(count) frames of type \(type) have arrived") { self.frames(type).count >= count }
    }
}
