import Foundation
import Testing

@testable import dynamo_launch

/// When files that belong together are read again.
@Suite struct FileChangesTests {
    private func inFolder(_ body: (URL) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "changes-\(UInt64.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder)
    }

    @Test func `a change is taken once it stands still`() throws {
        try self.inFolder { folder in
            let files = ["a", "b"].map { folder.appending(path: $0) }
            for file in files { try Data("1".utf8).write(to: file) }
            func states() -> [FileState] { files.map { FileState(path: $0.path()) } }
            var changes = FileChanges(states())
            func reads() -> Bool { changes.looked(states()) }
            #expect(!reads())
            // Each of the same size, and the second one later.
            try Data("2".utf8).write(to: files[0])
            #expect(!reads(), "the other one may follow")
            try Data("2".utf8).write(to: files[1])
            #expect(!reads())
            #expect(reads())
            #expect(!reads(), "what cannot be used is not tried again until it changes")
        }
    }

    @Test func `a link that is exchanged is a change, and so is a file that goes`() throws {
        try self.inFolder { folder in
            let manager = FileManager.default
            let (one, two, link) = (
                folder.appending(path: "1"), folder.appending(path: "2"), folder.appending(path: "link")
            )
            for file in [one, two] { try Data("x".utf8).write(to: file) }
            try manager.createSymbolicLink(at: link, withDestinationURL: one)
            func states() -> [FileState] { [FileState(path: link.path())] }
            var changes = FileChanges(states())
            func reads() -> Bool { changes.looked(states()) }
            try manager.removeItem(at: link)
            #expect(!reads())
            try manager.createSymbolicLink(at: link, withDestinationURL: two)
            #expect(!reads())
            #expect(reads())
            try manager.removeItem(at: link)
            #expect(!reads())
            #expect(reads())
        }
    }
}
