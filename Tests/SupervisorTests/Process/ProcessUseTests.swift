import Foundation
import TestSupport
import Testing

@testable import Supervisor

/// What processes use, with all that they have started.
@Suite struct ProcessUseTests {
    private func sample(_ pid: Int32, parent: Int32, session: Int32, ticks: UInt64, pages: Int) -> ProcessSample {
        ProcessSample(
            entry: ProcessEntry(pid: pid, parent: parent, session: session),
            ticks: ticks,
            pages: pages
        )
    }

    @Test func `children and those who left their parent count, others do not`() {
        let uses = ProcessUse.trees(
            [10, 20, 30],
            in: [
                self.sample(5, parent: 1, session: 5, ticks: 1000, pages: 1000),
                self.sample(10, parent: 5, session: 10, ticks: 100, pages: 10),
                // Two generations, in a session of their own.
                self.sample(11, parent: 10, session: 11, ticks: 50, pages: 5),
                self.sample(12, parent: 11, session: 11, ticks: 25, pages: 1),
                // Its parent has ended.
                self.sample(13, parent: 5, session: 10, ticks: 1, pages: 1),
                self.sample(20, parent: 5, session: 20, ticks: 7, pages: 2),
                // Its leader has ended.
                self.sample(31, parent: 5, session: 30, ticks: 9, pages: 9),
                // Ring of pids that were given again.
                self.sample(40, parent: 41, session: 40, ticks: 9, pages: 9),
                self.sample(41, parent: 40, session: 40, ticks: 9, pages: 9),
            ],
            ticks: 100,
            page: 4096
        )
        #expect(uses.keys.sorted() == [10, 20])
        #expect(uses[10] == ProcessUse(cpuSeconds: 1.76, memoryBytes: 17 * 4096, pids: [10, 11, 12, 13]))
        #expect(uses[20] == ProcessUse(cpuSeconds: 0.07, memoryBytes: 2 * 4096, pids: [20]))
    }

    @Test func `the kernel's line is read, whatever a program calls itself`() throws {
        let line =
            "77 (a) b (c) S 5 77 78 0 -1 4194560 300 40 1 0 11 22 33 44 20 0 4 0 123456 1000000 512 18446744073709551615 1 1 0"
        let sample = try #require(ProcessSample(stat: Array(line.utf8)))
        #expect(sample.ticks == 110 && sample.pages == 512)
        #expect(sample.entry.pid == 77 && sample.entry.parent == 5 && sample.entry.session == 78)
        #expect(ProcessSample(stat: Array("77 (a) S 5 77 78 0 -1".utf8)) == nil)
    }

    @Test func `a program that computes in a child is seen to`() async throws {
        let script = "(while :; do :; done) & wait"
        _ = try await withProgram("/bin/sh", ["-c", script]) { program in
            try await eventually("its child has used a tenth of a second") {
                let use = ProcessUse.measure([program.pid])[program.pid]
                return (use?.cpuSeconds ?? 0) > 0.1 && (use?.pids.count ?? 0) == 2 && (use?.memoryBytes ?? 0) > 1 << 16
            }
            for child in SystemProcesses.children(of: program.pid) { kill(child, SIGKILL) }
        }
        #expect(ProcessUse.measure([]).isEmpty)
    }
}
