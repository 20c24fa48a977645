import Deployment
import Foundation
import Glibc
import Supervisor
import Synchronization
import TestSupport
import Testing

/// Many replicas.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct ScaleTests {
    @Test func twoHundredReplicasStartIdleAndStop() async throws {
        let folder = ScratchFolder()
        let replicas = (0..<200).map { index in
            ReplicaPlan.shell(
                "worker-\(index)",
                "echo up; exec sleep 1000",
                readiness: [
                    LayerProbe(layer: .alive, probe: .process),
                    LayerProbe(layer: .port, probe: .logLine(pattern: "up")),
                ]
            )
        }
        let plan = Plan.test(folder, replicas)
        let start = ContinuousClock.now
        let stopping = Mutex(start)
        let outcome = try await RunningSupervisor.run(plan) { running in
            try await running.becomesReady()
            #expect(ContinuousClock.now - start < .seconds(5))
            print("ready in \(start.duration(to: .now))")
            // Nothing is polled in the steady state: the processor time of a whole second stays under one percent of it.
            let before = Self.processorTime()
            try await eventually(within: .seconds(3), "a second of rest") { ContinuousClock.now - start > .seconds(2) }
            print("started in \(start.duration(to: .now)), processor time at rest: \(Self.processorTime() - before)")
            stopping.withLock { $0 = .now }
        }
        let took = ContinuousClock.now - stopping.withLock { $0 }
        print("stopped in \(took)")
        #expect(took < .seconds(5))
        #expect(outcome.exitCode == 0)
    }

    private static func processorTime() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
    }
}
