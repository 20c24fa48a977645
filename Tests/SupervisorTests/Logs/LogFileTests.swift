import Deployment
import Foundation
import Glibc
import Testing

@testable import Supervisor

@Suite struct LogFileTests {
    private func lines(_ texts: String...) -> [[UInt8]] { texts.map { Array("\($0)\n".utf8) } }
    private func content(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }

    @Test func appendsToWhatIsThere() {
        let folder = ScratchFolder()
        let path = "\(folder.path)/a.log"
        for text in ["one", "two"] {
            var file = LogFile(path: path)
            #expect(file.append(self.lines(text), at: .now) == nil)
            file.close()
        }
        #expect(self.content(path) == "one\ntwo\n")
    }

    @Test func rotatesBySize() {
        let folder = ScratchFolder()
        let path = "\(folder.path)/a.log"
        var file = LogFile(path: path, sizeLimit: 10, generations: 3)
        for number in 1...5 { #expect(file.append(self.lines("line \(number)"), at: .now) == nil) }
        file.close()
        #expect(self.content(path) == "line 5\n")
        #expect(self.content("\(path).1") == "line 4\n")
        #expect(self.content("\(path).2") == "line 3\n")
        #expect(self.content("\(path).3") == nil)
    }

    @Test func theSizeOfAnOldFileCounts() throws {
        let folder = ScratchFolder()
        let path = "\(folder.path)/a.log"
        try "123456789\n".write(toFile: path, atomically: true, encoding: .utf8)
        var file = LogFile(path: path, sizeLimit: 12)
        _ = file.append(self.lines("new"), at: .now)
        file.close()
        #expect(self.content(path) == "new\n")
        #expect(self.content("\(path).1") == "123456789\n")
    }

    @Test func aDeletedFileIsMadeAnewAndItsFolderToo() throws {
        let folder = ScratchFolder()
        let path = "\(folder.path)/logs/a.log"
        var file = LogFile(path: path)
        #expect(file.append(self.lines("one"), at: .now) == nil, "the folder is made")
        try FileManager.default.removeItem(atPath: path)
        #expect(file.append(self.lines("two"), at: .now) == nil)
        #expect(self.content(path) == "two\n")
        try FileManager.default.removeItem(atPath: "\(folder.path)/logs")
        for text in ["three", "four"] { #expect(file.append(self.lines(text), at: .now) == nil) }
        #expect(self.content(path) == "three\nfour\n")
        file.close()
    }

    @Test func whileADeletedFileCannotBeMadeItsLinesAreKept() throws {
        let folder = ScratchFolder()
        let logs = "\(folder.path)/logs"
        var file = LogFile(path: "\(logs)/a.log")
        var now = ContinuousClock.now
        #expect(file.append(self.lines("one"), at: now) == nil)
        try FileManager.default.removeItem(atPath: logs)
        // Not a folder any more.
        try "".write(toFile: logs, atomically: true, encoding: .utf8)
        #expect(file.append(self.lines("two"), at: now) == .failed(reason: "Not a directory"))
        try FileManager.default.removeItem(atPath: logs)
        now += LogFile.retryEvery
        #expect(file.append(self.lines("three"), at: now) == .recovered(lostLines: 0))
        #expect(self.content("\(logs)/a.log") == "two\nthree\n")
        file.close()
    }

    /// A disk of so many bytes.
    final class Disk {
        var room = 0
        var content: [UInt8] = []
        var opens = 0
        /// The errno of open, when it fails.
        var refusal: Int32?

        var calls: LogFile.Calls {
            LogFile.Calls(
                open: { _ in
                    self.opens += 1
                    return self.refusal.map { -$0 } ?? open("/dev/null", O_WRONLY)
                },
                write: { _, bytes in
                    if self.room == 0 { return -Int(ENOSPC) }
                    let count = min(self.room, bytes.count)
                    self.content += bytes.prefix(count)
                    self.room -= count
                    return count
                }
            )
        }

        var text: String { String(decoding: self.content, as: UTF8.self) }
    }

    @Test func aFullDiskLosesNothingThatMemoryHolds() {
        let disk = Disk()
        var file = LogFile(path: "x", calls: disk.calls)
        var now = ContinuousClock.now
        disk.room = 6
        // Full in the middle of a line: the rest of it follows later.
        #expect(file.append(self.lines("one", "two", "three"), at: now) == .failed(reason: "No space left on device"))
        #expect(file.append(self.lines("four"), at: now) == nil)
        disk.room = 1000
        // Not tried again at once.
        #expect(file.append(self.lines("five"), at: now) == nil)
        #expect(disk.text == "one\ntw")
        now += LogFile.retryEvery
        #expect(file.append(self.lines("six"), at: now) == .recovered(lostLines: 0))
        #expect(disk.text == "one\ntwo\nthree\nfour\nfive\nsix\n")
        file.close()
    }

    @Test func aLongFullDiskLosesTheOldestAndCountsThem() {
        let disk = Disk()
        var file = LogFile(path: "x", backlogLimit: 30, calls: disk.calls)
        var now = ContinuousClock.now
        #expect(file.append(self.lines("number 0"), at: now) != nil)
        for number in 1...9 { #expect(file.append(self.lines("number \(number)"), at: now) == nil) }
        now += LogFile.retryEvery
        // Still full: said once only.
        #expect(file.append(self.lines("number 10"), at: now) == nil)
        disk.room = 1000
        now += LogFile.retryEvery
        #expect(file.retryIfDue(at: now) == .recovered(lostLines: 8))
        let lines = disk.text.split(separator: "\n")
        #expect(lines.first?.hasSuffix("[dynamo-launch] 8 lines were lost here: the log could not be written") == true)
        #expect(lines.dropFirst() == ["number 8", "number 9", "number 10"])
        file.close()
    }

    @Test func aFileThatCannotBeOpenedIsTriedAgain() {
        let disk = Disk()
        disk.refusal = EACCES
        disk.room = 1000
        var file = LogFile(path: "x", calls: disk.calls)
        var now = ContinuousClock.now
        #expect(file.append(self.lines("one"), at: now) == .failed(reason: "Permission denied"))
        #expect(file.retryIfDue(at: now) == nil)
        disk.refusal = nil
        now += LogFile.retryEvery
        #expect(file.retryIfDue(at: now) == .recovered(lostLines: 0))
        #expect(disk.text == "one\n")
        file.close()
    }
}

@Suite struct LogTailTests {
    private func plan(_ folder: ScratchFolder) -> Plan {
        .test(folder, [.shell("a", ""), .shell("b", "")])
    }

    @Test func readsBackWhatWasWritten() throws {
        let folder = ScratchFolder()
        let plan = self.plan(folder)
        try FileManager.default.createDirectory(atPath: plan.directories.logs, withIntermediateDirectories: true)
        for (index, offset) in [(0, 0), (1, 5)] {
            var file = LogFile(path: plan.logFile(of: plan.replicas[index]))
            for number in 0..<10 {
                let time = LogTime(milliseconds: Int64(1_700_000_000_000 + number * 10 + offset))
                let line = LineSplitter.Line(bytes: Array("\(index)/\(number)".utf8), isPartial: number == 9)
                _ = file.append([LogLine.fileRecord(time: time.ascii, stream: .stderr, line: line)], at: .now)
            }
            file.close()
        }
        let lines = LogTail.lines(of: [0, 1], in: plan, count: 4)
        #expect(lines.map(\.text) == ["0/8", "1/8", "0/9", "1/9"])
        #expect(lines.map(\.isPartial) == [false, false, true, true])
        #expect(lines.allSatisfy { $0.stream == .stderr })
        #expect(lines[0].time.milliseconds == 1_700_000_000_080)
        #expect(LogTail.lines(of: [0], in: plan, count: 100).count == 10)
        #expect(LogTail.lines(of: [0], in: plan, count: 0).isEmpty)
    }

    @Test func goesOnInTheRotatedFile() throws {
        let folder = ScratchFolder()
        let plan = self.plan(folder)
        try FileManager.default.createDirectory(atPath: plan.directories.logs, withIntermediateDirectories: true)
        let path = plan.logFile(of: plan.replicas[0])
        try "2026-01-01T00:00:00.000Z stdout F old\n".write(toFile: "\(path).1", atomically: true, encoding: .utf8)
        try "2026-01-01T00:00:00.001Z stdout F new\n".write(toFile: path, atomically: true, encoding: .utf8)
        #expect(LogTail.lines(of: [0], in: plan, count: 5).map(\.text) == ["old", "new"])
    }

    @Test func whatIsNoRecordIsSkipped() {
        let source = LogTail.Source(path: "", process: "a", replica: "a")
        for text in ["", "garbage", "2026-01-01T00:00:00.000Z elsewhere F x", "20xx-01-01T00:00:00.000Z stdout F x"] {
            #expect(LogTail.parse(Array(text.utf8), source) == nil)
        }
    }

    @Test(arguments: [
        (Int64(0), "1970-01-01T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_709_251_199_999, "2024-02-29T23:59:59.999Z"), (1_767_225_600_001, "2026-01-01T00:00:00.001Z"),
        (4_102_444_799_000, "2099-12-31T23:59:59.000Z"),
    ])
    func timesAreWrittenAndRead(milliseconds: Int64, text: String) {
        let time = LogTime(milliseconds: milliseconds)
        #expect(time.description == text)
        #expect(LogTime(ascii: time.ascii[...]) == time)
    }
}
