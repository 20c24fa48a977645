import NIOCore
import RequestPlane
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Bytes that real Dynamo processes exchanged.
enum Fixture {
    static let versions = ["1.0.2", "1.2.1", "1.6.1"]
    /// Those whose bodies are JSON.
    static let jsonVersions = ["1.0.2", "1.2.1"]

    private static let directory = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures")

    static func names(of version: String, containing part: String = "") throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: self.directory.path)
            .filter { $0.hasPrefix("\(version)-tcp-") && $0.hasSuffix(".hex") && $0.contains(part) }
            .map { String($0.dropLast(4)) }
            .sorted()
    }

    static func bytes(_ name: String) throws -> ByteBuffer {
        let text = try String(contentsOf: self.directory.appending(path: "\(name).hex"), encoding: .utf8)
        var digits = text.utf8.filter { !Character(UnicodeScalar($0)).isWhitespace }[...]
        var buffer = ByteBuffer()
        while digits.count >= 2 {
            let byte = try #require(UInt8(String(decoding: digits.prefix(2), as: UTF8.self), radix: 16))
            buffer.writeInteger(byte)
            digits = digits.dropFirst(2)
        }
        return buffer
    }

    /// A response-stream frame.
    static func message(_ name: String) throws -> TwoPartMessage {
        var decoder = TwoPartDecoder(maximumHeaderSize: 1 << 20, maximumBodySize: 1 << 20)
        decoder.append(try self.bytes(name))
        let message = try #require(try decoder.next())
        #expect(decoder.isBetweenFrames)
        return message
    }

    /// A request frame.
    static func request(_ name: String) throws -> TCPRequestFrame {
        var decoder = TCPRequestDecoder(limit: 1 << 20)
        decoder.append(try self.bytes(name))
        let frame = try #require(try decoder.next())
        #expect(decoder.isBetweenFrames)
        return frame
    }
}

extension ByteBuffer {
    /// The text, for comparisons that read well.
    var text: String { String(buffer: self) }

    /// The bytes in pieces of a size.
    func pieces(of size: Int) -> [ByteBuffer] {
        var rest = self
        var pieces: [ByteBuffer] = []
        while let piece = rest.readSlice(length: min(size, rest.readableBytes)), piece.readableBytes > 0 {
            pieces.append(ByteBuffer(bytes: piece.readableBytesView))
        }
        return pieces
    }
}
