import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Supervisor

/// The keeper process by itself.
@Suite(.serialized, .timeLimit(.minutes(1)))
struct KeeperTests {
    /// A keeper whose reports are collected on a thread.
    final class Kept: Sendable {
        let keeper: Keeper
        let reports = Mutex<[KeeperReport]>([])
        let end = Mutex<String?>(nil)

        init() throws {
            self.keeper = try Keeper(lock: -1)
            Thread.detachNewThread {
                let end = self.keeper.receive { report in self.reports.withLock { $0.append(report) } }
                self.end.withLock { $0 = end }
            }
        }

        func spawn(_ id: UInt64, _ script: String, executable: String = "/bin/sh", directory: String = "/tmp") throws {
            try self.keeper.spawn(
                SpawnRequest(
                    id: id,
                    executable: executable,
                    arguments: ["-c", script],
                    environment: ["PATH=/usr/bin:/bin"],
                    directory: directory,
                    descriptors: []
                )
            )
        }

        func pid(of id: UInt64) -> Int32? {
            self.reports.withLock {
                $0.lazy.compactMap { if case .spawned(id, let pid) = $0 { pid } else { nil } }.first
            }
        }

        func exit(of id: UInt64) -> ProcessExit? {
            self.reports.withLock {
                $0.lazy.compactMap { if case .exited(id, _, let status) = $0 { status } else { nil } }.first
            }
        }
    }

    @Test func startsSignalsAndReaps() async throws {
        let kept = try Kept()
        try kept.spawn(1, "exit 3")
        try kept.spawn(2, "exec sleep 1000")
        try await eventually("first exit") { kept.exit(of: 1) == .exited(3) }
        // The first may have ended before the second was started.
        try await eventually("second start") { kept.pid(of: 2) != nil }
        let pid = try #require(kept.pid(of: 2))
        let entry = try #require(ProcessTable.entry(of: pid))
        #expect(entry.parent == kept.keeper.pid)
        #expect(entry.session == pid)
        kept.keeper.signal(1, SIGKILL)
        kept.keeper.signal(2, SIGINT)
        try await eventually("second exit") { kept.exit(of: 2) == .signalled(SIGINT) }
        kept.keeper.finish()
        try await eventually("keeper gone") { kept.end.withLock { $0 } == "exit code 0" }
    }

    @Test func saysWhyAProgramDoesNotStart() async throws {
        let kept = try Kept()
        let folder = ScratchFolder()
        try kept.spawn(1, "", executable: "/nowhere")
        try kept.spawn(2, "", directory: "/nowhere")
        try kept.spawn(3, "", executable: folder.path)
        // Written by another process: what a test beside this one forks could hold it open for writing.
        try kept.spawn(9, "echo 'no program' > \(folder.path)/text; chmod 755 \(folder.path)/text")
        try await eventually("written") { kept.exit(of: 9) == .exited(0) }
        try kept.spawn(4, "", executable: "\(folder.path)/text")
        let expected = [
            "cannot execute /nowhere: No such file or directory",
            "cannot enter the working directory /nowhere: No such file or directory",
            "cannot execute \(folder.path): Permission denied", "cannot execute \(folder.path)/text: Exec format error",
        ]
        try await eventually("all answered") { kept.reports.withLock { $0.count } == 6 }
        let errors = kept.reports.withLock { reports in
            reports.compactMap { if case .spawnFailed(_, let error) = $0 { error } else { nil } }
        }
        #expect(errors.map(\.description) == expected)
        #expect(errors.allSatisfy { $0.isPermanent })
        kept.keeper.finish()
    }

    @Test func aKilledTreeLeavesNothingAndTouchesNothingElse() async throws {
        let kept = try Kept()
        let folder = ScratchFolder()
        let note = "echo $$ >> \(folder.path)/pids; exec sleep 1000"
        // A child, one whose parent is gone, one in a session of its own, and a child of that one in yet another.
        let script = """
            sh -c '\(note)' &
            sh -c 'sh -c "\(note.replacing("$", with: "\\$"))" &'
            setsid sh -c 'setsid sh -c "\(note.replacing("$", with: "\\$"))" & \(note)' &
            sleep 1000
            """
        try kept.spawn(1, script)
        try kept.spawn(2, "exec sleep 1000")
        let pids = { () -> [Int32] in
            ((try? String(contentsOfFile: "\(folder.path)/pids", encoding: .utf8)) ?? "").split(separator: "\n")
                .compactMap { Int32($0) }
        }
        try await eventually("all there") { pids().count == 4 && kept.pid(of: 2) != nil }
        kept.keeper.killTree(1)
        try await eventually("the leader's exit") { kept.exit(of: 1) == .signalled(SIGKILL) }
        try await eventually("nothing of it is left") { pids().allSatisfy { !isRunning($0) } }
        #expect(isRunning(try #require(kept.pid(of: 2))))
        kept.keeper.finish()
        try await eventually("keeper gone") { kept.end.withLock { $0 } == "exit code 0" }
    }

    @Test func adoptsAndReportsOrphans() async throws {
        let kept = try Kept()
        let folder = ScratchFolder()
        try kept.spawn(1, "sh -c 'echo $$ > \(folder.path)/pid; sleep 0.3' & exit 0")
        try await eventually("the orphan's end") {
            kept.reports.withLock { $0.contains { if case .exited(nil, _, .exited(0)) = $0 { true } else { false } } }
        }
        kept.keeper.finish()
    }

    /// What happens when the launcher is gone: its end of the socket closes.
    @Test func withoutALauncherEverythingEndsInFourSeconds() async throws {
        let kept = try Kept()
        let folder = ScratchFolder()
        let note = "echo $$ >> \(folder.path)/pids"
        try kept.spawn(1, "trap '' TERM; \(note); while :; do sleep 0.1; done")
        try kept.spawn(
            2,
            "setsid env -i sh -c 'trap \"\" TERM; \(note); while :; do sleep 0.1; done' & \(note); sleep 1000"
        )
        // A chain of sessions, each with a child of its own.
        try kept.spawn(
            3,
            "setsid setsid sh -c 'setsid sh -c \"\(note.replacingOccurrences(of: "$", with: "\\$")); sleep 1000\" & \(note); sleep 1000' & \(note); sleep 1000"
        )
        let pids = { () -> [Int32] in
            ((try? String(contentsOfFile: "\(folder.path)/pids", encoding: .utf8)) ?? "").split(separator: "\n")
                .compactMap { Int32($0) }
        }
        try await eventually("all there") { pids().count == 6 }
        let before = ContinuousClock.now
        kept.keeper.finish()
        try await eventually("keeper gone") { kept.end.withLock { $0 } != nil }
        #expect(ContinuousClock.now - before < .seconds(5))
        for pid in pids() { #expect(!isRunning(pid)) }
    }

    @Test func withoutALauncherWellBehavedProcessesEndAtOnce() async throws {
        let kept = try Kept()
        for id in 1...20 { try kept.spawn(UInt64(id), "exec sleep 1000") }
        try await eventually("all there") { kept.pid(of: 20) != nil }
        let before = ContinuousClock.now
        kept.keeper.finish()
        try await eventually("keeper gone") { kept.end.withLock { $0 } != nil }
        #expect(ContinuousClock.now - before < .seconds(2))
    }

    @Test func aKilledKeeperTakesItsLeadersAlong() async throws {
        let kept = try Kept()
        try kept.spawn(1, "trap '' TERM; exec sleep 1000")
        try await eventually("there") { kept.pid(of: 1) != nil }
        kill(kept.keeper.pid, SIGKILL)
        try await eventually("known") { kept.end.withLock { $0 } == "killed by SIGKILL" }
        let pid = try #require(kept.pid(of: 1))
        try await eventually("leader gone") { !isRunning(pid) }
    }
}
