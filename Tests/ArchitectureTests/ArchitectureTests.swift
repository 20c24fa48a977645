import Foundation
import Testing

/// The structure of `Sources/`, held against what was agreed.
@Suite struct ArchitectureTests {
    @Test func `every target is in the table`() throws {
        let folders = try Self.folders(of: Self.sources).filter { !$0.hasPrefix("C") || $0 == "CProcess" }
        let known = Set(ImportTable.ours.keys).union(["CProcess"])
        #expect(Set(folders).subtracting(known).isEmpty, "a new target needs a line in ImportTable.swift")
        #expect(known.subtracting(folders).isEmpty, "ImportTable.swift names a target that is gone")
    }

    @Test(arguments: ImportTable.ours.keys.sorted())
    func `imports stay inside the table`(target: String) throws {
        let allowed = ImportTable.toolchain
            .union(ImportTable.ours[target] ?? [])
            .union(ImportTable.others[target] ?? [])
        for file in try Self.swiftFiles(under: Self.sources.appending(path: target)) {
            for (line, module) in try Self.imports(in: file) {
                #expect(allowed.contains(module), "\(target)/\(file.lastPathComponent):\(line) imports \(module)")
            }
        }
    }

    @Test(arguments: ImportTable.ours.keys.sorted())
    func `no two files of a target share a name, and none is named like a module`(target: String) throws {
        let files = try Self.swiftFiles(under: Self.sources.appending(path: target))
        let names = Dictionary(grouping: files, by: \.lastPathComponent)
        for (name, places) in names {
            #expect(places.count == 1, "\(target) has \(places.count) files named \(name)")
        }
    }

    @Test func `each C library has one importer`() throws {
        for module in ["CSystemd", "CNATS", "CZeroMQ", "CXXHash"] {
            var importers: Set<String> = []
            for target in ImportTable.ours.keys {
                for file in try Self.swiftFiles(under: Self.sources.appending(path: target))
                where try Self.imports(in: file).contains(where: { $0.module == module }) {
                    importers.insert(target)
                }
            }
            #expect(importers.count <= 1, "\(module) is imported by \(importers.sorted())")
        }
    }

    // MARK: Reading the tree

    private static let sources = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Sources")

    private static func folders(of directory: URL) throws -> [String] {
        try FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: [.isDirectoryKey])
            .filter { try $0.resourceValues(forKeys: [.isDirectoryKey]).isDirectory == true }
            .map(\.lastPathComponent)
    }

    private static func swiftFiles(under directory: URL) throws -> [URL] {
        let walker = try #require(FileManager.default.enumerator(at: directory, includingPropertiesForKeys: nil))
        return walker.compactMap { $0 as? URL }.filter { $0.pathExtension == "swift" }
    }

    private static func imports(in file: URL) throws -> [(line: Int, module: String)] {
        let text = try String(contentsOf: file, encoding: .utf8)
        return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
            // An indented line belongs to a text, such as a program of another language.
            guard line.first != " " else { return nil }
            var words = line.split(separator: " ").map(String.init)
            if let first = words.first, first.hasPrefix("@") { words.removeFirst() }
            if let first = words.first, ["public", "package", "internal", "private", "fileprivate"].contains(first) {
                words.removeFirst()
            }
            guard words.first == "import", words.count >= 2 else { return nil }
            let kinds: Set<String> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
            let name = kinds.contains(words[1]) && words.count > 2 ? words[2] : words[1]
            return (index + 1, String(name.prefix { $0 != "." }))
        }
    }
}
