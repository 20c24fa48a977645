import Foundation
import Glibc
import TestSupport
import Testing

@testable import Supervisor

/// Programs that are run to their end before anything is started.
@Suite(.serialized, .timeLimit(.minutes(1)))
struct SingleCommandTests {
    private func run(_ words: [String], timeout: Double = 20) async -> SingleCommand.Result {
        await SingleCommand(
            words,
            environment: ["PATH": "/usr/bin:/bin", "X": "y"],
            directory: "/tmp",
            timeout: timeout
        )
        .run()
    }

    @Test func whatItWritesAndHowItEndsIsKnown() async {
        let good = await self.run(["sh", "-c", "echo $X; pwd; echo aside >&2"])
        #expect(good.failure == nil)
        #expect(good.output == "y\n/tmp\n")
        #expect(good.errors == "aside\n")
        let bad = await self.run(["sh", "-c", "echo no room >&2; exit 3"])
        #expect(bad.failure == "exit code 3")
        #expect(bad.errors == "no room\n")
        #expect(await self.run(["sh", "-c", "kill -9 $$"]).failure == "killed by SIGKILL")
    }

    @Test func oneThatCannotBeStartedSaysWhy() async {
        #expect(await self.run(["no-such-program"]).failure == "no-such-program is not on PATH")
        #expect(await self.run(["/nowhere"]).failure == "cannot execute /nowhere: No such file or directory")
    }

    @Test func oneThatNobodyCanEndIsWaitedForNoLonger() async throws {
        let folder = ScratchFolder()
        // Its keeper, which is to end it, is stopped.
        let script = "echo $$ $PPID > \(folder.path)/pids; kill -STOP $PPID; exec sleep 1000"
        let result = await self.run(["sh", "-c", script], timeout: 1)
        let pids = try String(contentsOfFile: "\(folder.path)/pids", encoding: .utf8).split(
            whereSeparator: \.isWhitespace
        )
        .compactMap { Int32($0) }
        #expect(result.failure == "no end within 1s")
        #expect(pids.count == 2 && pids.allSatisfy(isRunning))
        // When it can, the keeper does what it was asked for, and goes.
        let keeper = try #require(pids.last)
        kill(keeper, SIGCONT)
        try await eventually("it has ended") { !pids.contains(where: isRunning) }
        _ = await self.run(["true"])
        #expect(access("/proc/\(keeper)", F_OK) != 0, "nobody has reaped it")
    }

    @Test func oneThatTakesTooLongIsKilledWithAllThatItStarted() async throws {
        let folder = ScratchFolder()
        let script = "setsid sh -c 'echo $$ > \(folder.path)/pid; exec sleep 1000' & sleep 1000; true"
        let before = ContinuousClock.now
        let result = await self.run(["sh", "-c", script], timeout: 2)
        #expect(result.failure == "no end within 2s")
        #expect(ContinuousClock.now - before < .seconds(10))
        let text = try String(contentsOfFile: "\(folder.path)/pid", encoding: .utf8)
        let pid = try #require(Int32(text.split(separator: "\n")[0]))
        #expect(!isRunning(pid))
    }
}
