import Deployment
import Glibc
import Testing

@testable import Supervisor

/// Replicas whose process another launcher has started.
@Suite struct ReplicaAdoptionTests {
    private static let line = LayerProbe(layer: .live, probe: .logLine(pattern: "listening"))

    private static func adopt(
        _ driver: inout Driver,
        _ note: KeptNote = KeptNote(),
        pid: Int32? = 104
    ) -> [ReplicaMachine.Action] {
        driver.machine.adopt(
            run: 4,
            restarts: (all: 3, askedFor: 1),
            note: note,
            pid: pid,
            startedAt: driver.now - .seconds(100),
            at: driver.now
        )
    }

    @Test func `it is probed and not started, and keeps its numbers`() {
        var driver = Driver(readiness: [alive, live])
        let actions = Self.adopt(&driver)
        #expect(!actions.contains(.spawn(run: 4)) && driver.machine.runs == 4 && driver.machine.restarts == 3)
        #expect(driver.machine.restartsAskedFor == 1)
        #expect(driver.start().isEmpty)
        #expect(driver.spawned(4).contains(.probe(run: 4, index: 1)))
        _ = driver.probe(.success, run: 4)
        #expect(driver.shown == .ready)
        // The end is the one of this run, and the next process has the next number.
        #expect(driver.exit(.exited(7), run: 4).contains(.exited(.exited(7))))
        _ = driver.cleared(4)
        _ = driver.fire(.backoff)
        #expect(driver.start().contains(.spawn(run: 5)))
    }

    @Test func `a line that was written before is not waited for again, another one is`() {
        var known = Driver(readiness: [alive, Self.line])
        var note = KeptNote()
        note.matched = [1]
        _ = Self.adopt(&known, note)
        _ = known.spawned(4)
        #expect(known.shown == .ready)
        var unknown = Driver(readiness: [alive, Self.line])
        _ = Self.adopt(&unknown)
        _ = unknown.spawned(4)
        #expect(unknown.shown == .starting)
    }

    @Test func `one that ended meanwhile is restarted as its policy says`() {
        var driver = Driver(restart: RestartPolicy(jitter: 0))
        _ = Self.adopt(&driver, pid: nil)
        #expect(driver.exit(.exited(7), run: 4).contains(.exited(.exited(7))))
        _ = driver.cleared(4)
        #expect(driver.shown == .backingOff)
    }

    @Test func `a job that had done its work meanwhile has reached what it had reached`() {
        var note = KeptNote()
        note.wasReady = true
        var driver = Driver(readiness: [alive, live], restart: RestartPolicy(condition: .never))
        _ = Self.adopt(&driver, note, pid: nil)
        #expect(!driver.machine.satisfies(.alive), "nobody starts because of it before its end is known")
        _ = driver.exit(.exited(0), run: 4)
        _ = driver.cleared(4)
        #expect(driver.machine.isDone && driver.machine.satisfies(.live))
        var unready = Driver(readiness: [alive, live], restart: RestartPolicy(condition: .never))
        _ = Self.adopt(&unready, pid: nil)
        _ = unready.exit(.exited(0), run: 4)
        _ = unready.cleared(4)
        #expect(unready.machine.isDone && !unready.machine.satisfies(.live))
    }

    @Test func `one that a person has stopped stays so, and one that was being restarted is started anew`() {
        var note = KeptNote()
        note.isHalted = true
        var halted = Driver()
        _ = Self.adopt(&halted, note, pid: nil)
        _ = halted.exit(.signalled(SIGTERM), run: 4)
        _ = halted.cleared(4)
        #expect(halted.shown == .stopped && halted.machine.isHalted)

        note = KeptNote()
        note.isEnding = true
        var ending = Driver(restart: RestartPolicy(condition: .never))
        #expect(Self.adopt(&ending, note).contains(.signal(run: 4, SIGTERM)))
        _ = ending.exit(.exited(0), run: 4)
        _ = ending.cleared(4)
        #expect(ending.shown == .waiting)
    }

    @Test func `what is noted of a replica is what the next launcher gets`() {
        var driver = Driver(readiness: [alive, Self.line])
        _ = driver.start()
        _ = driver.spawned()
        #expect(driver.machine.keptNote == KeptNote())
        _ = driver.machine.logMatched(run: 1, index: 1, at: driver.now)
        #expect(driver.machine.keptNote.matched == [1] && driver.machine.keptNote.wasReady)
        _ = driver.machine.halt(at: driver.now)
        #expect(driver.machine.keptNote.isHalted)
        let restored = KeptNote(rawValue: driver.machine.keptNote.rawValue)
        #expect(restored.matched == [1] && restored.isHalted && restored.wasReady && !restored.isNotified)
    }
}
