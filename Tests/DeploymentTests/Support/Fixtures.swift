import Foundation

/// Files of this repository.
enum Fixtures {
    static let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    static let repository = Self.tests.deletingLastPathComponent().deletingLastPathComponent()

    static func bytes(_ path: String) throws -> [UInt8] {
        Array(try Data(contentsOf: Self.repository.appending(path: path)))
    }

    static func text(_ path: String) throws -> String {
        String(decoding: try Self.bytes(path), as: UTF8.self)
    }

    /// The names, without the ending, of the files of a folder.
    static func names(in folder: String, ending: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(
            atPath: Self.repository.appending(path: folder).path(percentEncoded: false)
        )
        .filter { $0.hasSuffix(".\(ending)") }
        .map { String($0.dropLast(ending.count + 1)) }
        .sorted()
    }
}
