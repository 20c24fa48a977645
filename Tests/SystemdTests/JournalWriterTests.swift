import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Systemd

/// A journal that a test can hold up, and that can refuse.
private final class FakeJournal: Sendable {
    private let state = Mutex((taken: [String](), error: Int32(0), refused: [String](), asked: 0))
    let hold = DispatchSemaphore(value: 0)
    let isHeld: Bool

    init(isHeld: Bool = false) { self.isHeld = isHeld }

    var taken: [String] { self.state.withLock { $0.taken } }
    /// How many entries were given to it.
    var asked: Int { self.state.withLock { $0.asked } }
    var refused: [String] { self.state.withLock { $0.refused } }

    func refuse(with error: Int32) { self.state.withLock { $0.error = error } }

    func writer(limit: Int = 1 << 20) -> JournalWriter {
        JournalWriter(
            limit: limit,
            send: { entry in
                self.state.withLock { $0.asked += 1 }
                if self.isHeld { self.hold.wait() }
                return self.state.withLock { state in
                    if state.error == 0 { state.taken.append(entry.message) }
                    return state.error
                }
            },
            lossReport: { JournalEntry("lost \($0)", priority: .warning, identifier: "test") },
            fallback: { entry, reason in
                self.state.withLock { $0.refused.append((reason.map { "\($0): " } ?? "") + entry.message) }
            }
        )
    }
}

/// What happens to entries that the journal takes, takes late, or refuses.
@Suite struct JournalWriterTests {
    private func entry(_ message: String) -> JournalEntry {
        JournalEntry(message, priority: .info, identifier: "test", fields: [JournalEntry.Field("NAME", "value")])
    }

    @Test func `entries arrive in order, and the end waits for them`() async {
        let journal = FakeJournal()
        let writer = journal.writer()
        for number in 0..<500 { writer.write(self.entry("\(number)")) }
        #expect(await writer.finish(within: .seconds(10)) == 0)
        #expect(journal.taken == (0..<500).map { "\($0)" })
    }

    @Test func `a journal that takes nothing holds nobody up, and what was lost is counted when it takes again`()
        async throws
    {
        let journal = FakeJournal(isHeld: true)
        let writer = journal.writer(limit: 100 * self.entry("0000").size)
        writer.write(self.entry("1000"))
        try await eventually("the journal was asked") { journal.asked == 1 }
        for number in 1001..<2000 { writer.write(self.entry("\(number)")) }
        #expect(await writer.finish(within: .milliseconds(50)) == 1000)
        for _ in 0..<2000 { journal.hold.signal() }
        #expect(await writer.finish(within: .seconds(10)) == 0)
        #expect(journal.taken == (1000..<1100).map { "\($0)" } + ["lost 900"])
        writer.write(self.entry("later"))
        #expect(await writer.finish(within: .seconds(10)) == 0)
        #expect(journal.taken.last == "later")
    }

    @Test func `what the journal refuses goes elsewhere, with the reason once`() async {
        let journal = FakeJournal()
        let writer = journal.writer()
        journal.refuse(with: ECONNREFUSED)
        writer.write(self.entry("a"))
        writer.write(self.entry("b"))
        #expect(await writer.finish(within: .seconds(10)) == 0)
        #expect(journal.refused == ["Connection refused: a", "b"])
        journal.refuse(with: 0)
        writer.write(self.entry("c"))
        #expect(await writer.finish(within: .seconds(10)) == 0)
        journal.refuse(with: ENOENT)
        writer.write(self.entry("d"))
        #expect(await writer.finish(within: .seconds(10)) == 0)
        #expect(journal.refused.last == "No such file or directory: d")
        #expect(journal.taken == ["c"])
    }

    @Test func `an entry is its fields, whatever their values hold`() {
        let entry = JournalEntry("a=b\nc", priority: .error, identifier: "worker", fields: [.init("DYNAMO_PID", "7")])
        let (bytes, ends) = entry.encoded
        var start = 0
        let fields = ends.map { end in
            defer { start = end }
            return String(decoding: bytes[start..<end], as: UTF8.self)
        }
        #expect(fields == ["MESSAGE=a=b\nc", "PRIORITY=3", "SYSLOG_IDENTIFIER=worker", "DYNAMO_PID=7"])
    }

    @Test func `a stream leads to the journal when it is the file that the variable names`() throws {
        let pipe = Pipe()
        let descriptor = pipe.fileHandleForWriting.fileDescriptor
        var status = stat()
        try #require(fstat(descriptor, &status) == 0)
        let name = "\(status.st_dev):\(status.st_ino)"
        #expect(JournalStream.isConnected(descriptor, variable: name))
        #expect(!JournalStream.isConnected(descriptor, variable: nil))
        #expect(!JournalStream.isConnected(descriptor, variable: name + "0"))
        #expect(!JournalStream.isConnected(-1, variable: name))
        #expect(!JournalStream.isConnected(Pipe().fileHandleForWriting.fileDescriptor, variable: name))
    }
}
