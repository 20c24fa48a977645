import Foundation
import Testing

@testable import Supervisor

@Suite struct EventLogTests {
    private static func path(_ folder: ScratchFolder) -> String { "\(folder.path)/events.jsonl" }

    @Test func `what was written is read in order, and then what is added`() {
        let folder = ScratchFolder()
        let log = EventLog(path: Self.path(folder))
        #expect(log.append(LaunchEvent("one", level: .info, generation: 1)) == nil)
        #expect(log.append(LaunchEvent("two\nlines", level: .warning, generation: 2, replica: "worker")) == nil)
        var (events, reader) = EventLog.events(in: Self.path(folder), last: 10) { _ in true }
        #expect(events.map(\.message) == ["one", "two\nlines"])
        #expect(events.last?.replica == "worker" && events.last?.level == .warning && events.last?.generation == 2)
        #expect(reader.next() == [])
        // Another launcher goes on in the same file.
        _ = EventLog(path: Self.path(folder)).append(LaunchEvent("three", level: .error, generation: 1))
        #expect(reader.next().map(\.message) == ["three"])
        #expect(
            EventLog.events(in: Self.path(folder), last: 1) { $0.level >= .warning }.events.map(\.message) == ["three"]
        )
    }

    @Test func `a file that grows is put away, and both are read`() throws {
        let folder = ScratchFolder()
        let log = EventLog(path: Self.path(folder))
        let text = String(repeating: "x", count: 1 << 20)
        _ = log.append(LaunchEvent("first", level: .info, generation: 1))
        var reader = EventLog.events(in: Self.path(folder), last: 10) { _ in true }.reader
        for _ in 0..<3 { _ = log.append(LaunchEvent(text, level: .info, generation: 1)) }
        #expect(reader.next().count == 3)
        _ = log.append(LaunchEvent("last before", level: .info, generation: 1))
        _ = log.append(LaunchEvent(text, level: .info, generation: 1))
        #expect(reader.next().map { $0.message.prefix(11) } == ["last before", "xxxxxxxxxxx"], "both files are read")
        let all = EventLog.events(in: Self.path(folder), last: 10) { _ in true }.events
        #expect(all.count == 6 && all.first?.message == "first")
    }

    @Test func `a file that is put away between two looks is not read twice`() throws {
        let folder = ScratchFolder()
        let (path, older) = (Self.path(folder), "\(Self.path(folder)).1")
        try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
        _ = EventLog(path: path).append(LaunchEvent("one", level: .info, generation: 1))
        var reader = EventReader(path: path)
        #expect(reader.next().map(\.message) == ["one"])
        try FileManager.default.moveItem(atPath: path, toPath: older)
        #expect(reader.putAway() == [])
        _ = EventLog(path: path).append(LaunchEvent("two", level: .info, generation: 1))
        #expect(reader.next().map(\.message) == ["two"])
        #expect(reader.putAway().map(\.message) == ["one"])
    }

    @Test func `a file that is deleted is made anew, and whoever reads it goes on there`() throws {
        let folder = ScratchFolder()
        let log = EventLog(path: Self.path(folder))
        let event = { LaunchEvent($0, level: .info, generation: 1) }
        _ = log.append(event("a long one that was there before"))
        var reader = EventReader(path: Self.path(folder))
        #expect(reader.next().count == 1)
        try FileManager.default.removeItem(atPath: folder.path)
        #expect(reader.next() == [])
        #expect(log.append(event("one")) == nil && log.append(event("two")) == nil)
        #expect(reader.next().map(\.message) == ["one", "two"])
        #expect(EventLog.events(in: Self.path(folder), last: 9) { _ in true }.events.map(\.message) == ["one", "two"])
    }

    @Test func `half a line is read when it is whole, and what is no event is left out`() throws {
        let folder = ScratchFolder()
        let event = try JSONEncoder().encode(LaunchEvent("late", level: .info, generation: 1))
        let path = Self.path(folder)
        try (Data("nonsense\n".utf8) + event.dropLast(5)).write(to: URL(filePath: path))
        var (events, reader) = EventLog.events(in: path, last: 10) { _ in true }
        #expect(events == [])
        let file = try FileHandle(forWritingTo: URL(filePath: path))
        try file.seekToEnd()
        try file.write(contentsOf: event.suffix(5) + Data("\n".utf8))
        try file.close()
        #expect(reader.next().map(\.message) == ["late"])
    }

    @Test func `why it cannot be written is said once`() {
        let log = EventLog(path: "/proc/nowhere/events.jsonl")
        let event = LaunchEvent("one", level: .info, generation: 1)
        #expect(log.append(event) == "/proc/nowhere/events.jsonl cannot be written: No such file or directory")
        #expect(log.append(event) == nil)
    }
}
