#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Captures of real traffic to start from.
package enum FuzzCorpus {
    private static let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "RequestPlaneTests/Fixtures")

    /// The frames that real Dynamo processes exchanged.
    ///
    /// - Returns: one seed for each.
    /// - Throws: when a file cannot be read.
    package static func wire() throws -> [[UInt8]] {
        try FileManager.default.contentsOfDirectory(atPath: self.fixtures.path)
            .filter { $0.hasSuffix(".hex") }
            .sorted()
            .map { self.bytes(ofHex: try self.text($0)) }
    }

    /// Whole response streams, as they stand on a connection.
    ///
    /// - Returns: for each release one that succeeds, one that fails and one that is refused.
    /// - Throws: when a file cannot be read.
    package static func responseStreams() throws -> [[UInt8]] {
        let begin = ["plain-3-handshake", "plain-4-prologue-ok", "plain-5-item"]
        let streams = [
            begin + ["plain-6-item", "plain-7-final", "plain-8-control-sentinel"],
            begin + ["raise-6-item-error", "plain-7-final", "plain-8-control-sentinel"],
            ["plain-3-handshake", "refuse-4-prologue-error", "refuse-5-control-sentinel"],
        ]
        return try ["1.0.2", "1.2.1", "1.6.1"].flatMap { version in
            try streams.map { parts in
                try parts.flatMap { self.bytes(ofHex: try self.text("\(version)-tcp-\($0).hex")) }
            }
        }
    }

    private static func text(_ name: String) throws -> String {
        try String(contentsOf: self.fixtures.appending(path: name), encoding: .utf8)
    }

    private static func bytes(ofHex text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        var high: UInt8?
        for character in text {
            guard let digit = character.hexDigitValue.map(UInt8.init) else { continue }
            if let first = high {
                bytes.append(first << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        return bytes
    }
}
