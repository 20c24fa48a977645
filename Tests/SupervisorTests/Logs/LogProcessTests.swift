import Deployment
import Foundation
import Glibc
import Supervisor
import Synchronization
import TestSupport
import Testing

/// Logs of real processes.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct LogProcessTests {
    @Test func oneThatFloodsItsLogStarvesNobody() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(
            folder,
            [
                .shell("flood", "exec yes 0123456789012345678901234567890123456789012345678901234567890123"),
                .shell("quiet", "while :; do date +%s.%N; sleep 0.1; done"),
            ]
        )
        try await RunningSupervisor.run(plan) { running in
            try await eventually("quiet is heard beside 30000 lines") {
                running.text(of: "quiet").count >= 10 && running.text(of: "flood").count > 30000
            }
            // What quiet wrote came within a second of being written.
            let delays = running.lines.withLock { lines in
                lines.filter { $0.replica == "quiet" }.map { line in
                    Double(line.time.milliseconds) / 1000 - (Double(line.text) ?? 0)
                }
            }
            #expect(delays.allSatisfy { $0 < 1 }, "\(delays)")
            let before = ContinuousClock.now
            running.supervisor.requestStop(now: false)
            try await running.ends()
            #expect(ContinuousClock.now - before < .seconds(3))
        }
    }

    @Test func rotationKeepsFourFilesOfAFlood() async throws {
        let folder = ScratchFolder()
        let line = String(repeating: "0123456789", count: 100)
        let plan = Plan.test(folder, [.shell("flood", "exec yes \(line)")])
        let last = "\(folder.path)/state/logs/flood.log.3"
        try await RunningSupervisor.run(plan) { _ in
            try await eventually(within: .seconds(60), "rotated three times") { access(last, F_OK) == 0 }
        }
        for name in ["flood.log", "flood.log.1", "flood.log.2", "flood.log.3"] {
            var information = stat()
            #expect(stat("\(folder.path)/state/logs/\(name)", &information) == 0)
            #expect(information.st_size <= 16 << 20)
        }
        #expect(access("\(folder.path)/state/logs/flood.log.4", F_OK) != 0)
    }

    @Test func aFullDiskStopsNothingAndIsSaidOnce() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(folder, [.shell("worker", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done")])
        try FileManager.default.createDirectory(atPath: plan.directories.logs, withIntermediateDirectories: true)
        let log = "\(plan.directories.logs)/worker.log"
        try FileManager.default.createSymbolicLink(atPath: log, withDestinationPath: "/dev/full")
        let client = ControlClient(plan.directories)
        try await RunningSupervisor.run(plan) { running in
            try await eventually("100 lines") { running.text(of: "worker").count > 100 }
            let expected =
                "\(log) cannot be written: No space left on device; the last lines are kept in memory until it can"
            #expect(running.warnings == [expected])
            #expect(try await client.status().warnings == [expected])
            #expect(try await client.status().state == .ready)
            // The disk has room again.
            unlink(log)
            try await eventually("written again") {
                running.warnings.last == "the log of worker is written again"
            }
            #expect(try await client.status().warnings == [])
            let text = try String(contentsOfFile: log, encoding: .utf8)
            #expect(text.contains(" stdout F line 1\n") && text.contains(" stdout F line 90\n"))
        }
    }

    @Test func whatIsLeftWithoutANewlineIsALine() async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(
            folder,
            [.shell("job", "printf 'no end'; printf '\\377bytes\\n' >&2", role: .infrastructure)]
        )
        try await RunningSupervisor.run(plan) { running in
            try await running.ends()
            #expect(Set(running.text(of: "job")) == ["no end", "\u{fffd}bytes"])
        }
    }
}
