import Deployment
import Testing

@testable import Supervisor

/// Workers that those that send requests must know before the next one is touched.
@Suite struct RolloutConfirmationTests {
    private func running() -> RolloutTests.Running {
        var running = RolloutTests.Running(RolloutTests.frontends(2, role: .worker), gateway: false)
        running.machine.confirmsWorkers = true
        return running
    }

    private static func asked(_ actions: [DeploymentMachine.Action]) -> [String] {
        actions.compactMap { if case .confirm(let replica, let run) = $0 { "\(replica.name) \(run)" } else { nil } }
    }

    @Test func `the next worker is not touched before the one that was started is known`() {
        var running = self.running()
        running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0", "frontend-1"])))
        running.ends(0, run: 1)
        let ready = running.feed(.spawned(replica: 0, run: 2, pid: 20))
        #expect(Self.asked(ready) == ["frontend-0 2"])
        #expect(RolloutTests.signals(ready) == [])
        #expect(!ready.contains(RolloutTests.progress("frontend-0", .ready)))

        let other = running.feed(.confirmed("frontend-1", run: 1))
        #expect(RolloutTests.signals(other) == [] && Self.asked(other) == [])
        let earlier = running.feed(.confirmed("frontend-0", run: 1))
        #expect(RolloutTests.signals(earlier) == [], "an answer about an earlier process")
        #expect(Self.asked(earlier) == ["frontend-0 2"])

        let known = running.feed(.confirmed("frontend-0", run: 2))
        #expect(known.contains(RolloutTests.progress("frontend-0", .ready)))
        #expect(RolloutTests.signals(known) == [1])
        running.ends(1, run: 1)
        #expect(Self.asked(running.feed(.spawned(replica: 1, run: 2, pid: 21))) == ["frontend-1 2"])
        #expect(running.feed(.confirmed("frontend-1", run: 2)).contains(.rolloutEnded(nil)))
    }

    @Test func `a worker that ends before it is known must be known when it is there again`() {
        var running = self.running()
        running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0", "frontend-1"])))
        running.ends(0, run: 1)
        running.feed(.spawned(replica: 0, run: 2, pid: 20))
        running.ends(0, run: 2)
        let known = running.feed(.confirmed("frontend-0", run: 2))
        #expect(RolloutTests.signals(known) == [] && Self.asked(known) == [])
        #expect(running.machine.rollout?.current == .replace("frontend-0", with: nil))
        running.feed(.timerFired(replica: 0, .backoff))
        let ready = running.feed(.spawned(replica: 0, run: 3, pid: 30))
        #expect(Self.asked(ready) == ["frontend-0 3"] && RolloutTests.signals(ready) == [])
        #expect(RolloutTests.signals(running.feed(.confirmed("frontend-0", run: 3))) == [1])
    }

    @Test func `a worker that is given up while it is waited for ends the change`() {
        var running = self.running()
        running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0", "frontend-1"])))
        running.ends(0, run: 1)
        running.feed(.spawned(replica: 0, run: 2, pid: 20))
        running.ends(0, run: 2)
        running.feed(.timerFired(replica: 0, .backoff))
        let ended = running.machine.giveUpWaiting(0, "not healthy in time", at: running.now)
        #expect(ended == [.rolloutEnded("frontend-0: not healthy in time; it is tried further", cause: "frontend-0")])
        #expect(running.machine.rollout == nil)
    }

    @Test func `a frontend is not waited for`() {
        var running = RolloutTests.Running(RolloutTests.frontends(1), gateway: false)
        running.machine.confirmsWorkers = true
        running.feed(.rolloutRequested(Rollout(.restart, ["frontend-0"])))
        running.ends(0, run: 1)
        #expect(running.feed(.spawned(replica: 0, run: 2, pid: 20)).contains(.rolloutEnded(nil)))
    }
}
