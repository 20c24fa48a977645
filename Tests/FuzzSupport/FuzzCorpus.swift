#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Captures of real traffic to start from.
package enum FuzzCorpus {
    private static let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()

    /// The frames that real Dynamo processes exchanged.
    ///
    /// - Returns: one seed for each.
    /// - Throws: when a file cannot be read.
    package static func wire() throws -> [[UInt8]] {
        try self.files("RequestPlaneTests/Fixtures", ending: ".hex").map { self.bytes(ofHex: $0) }
    }

    /// Frames of one response stream or request behind another, as they stand on a connection.
    ///
    /// - Returns: one seed for each capture whose name says that it belongs to one.
    /// - Throws: when a file cannot be read.
    package static func responseStreams() throws -> [[UInt8]] {
        ["1.0.2", "1.2.1", "1.6.1"].flatMap { version in
            ["plain", "raise", "refuse"].map { kind in "\(version)-tcp-\(kind)-" }
        }.map { prefix in
            [
                "3-handshake", "4-prologue-ok", "4-prologue-error", "5-item", "6-item", "6-item-error", "7-final",
                "8-control-sentinel",
            ]
            .flatMap { part -> [UInt8] in
                let plain = prefix.replacing("raise", with: "plain").replacing("refuse", with: "plain")
                let text =
                    self.text("\(prefix)\(part).hex")
                    ?? (part == "3-handshake" ? self.text("\(plain)\(part).hex") : nil)
                return text.map { self.bytes(ofHex: $0) } ?? []
            }
        }
    }

    /// JSON files of the tests.
    ///
    /// - Parameter folder: below `Tests`.
    /// - Returns: one seed for each.
    /// - Throws: when a file cannot be read.
    package static func json(_ folder: String) throws -> [[UInt8]] {
        try self.files(folder, ending: ".json").map { Array($0.utf8) }
    }

    private static func files(_ folder: String, ending: String) throws -> [String] {
        let directory = self.tests.appending(path: folder)
        return try FileManager.default.contentsOfDirectory(atPath: directory.path)
            .filter { $0.hasSuffix(ending) }
            .sorted()
            .map { try String(contentsOf: directory.appending(path: $0), encoding: .utf8) }
    }

    private static func text(_ name: String) -> String? {
        try? String(contentsOf: self.tests.appending(path: "RequestPlaneTests/Fixtures/\(name)"), encoding: .utf8)
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
