import Foundation
import Testing

@testable import Deployment

/// What a process may use.
@Suite struct LimitsTests {
    private func plan(_ limits: String) throws -> Plan {
        try ManifestCase(
            "name: demo\nprocesses:\n  worker: {builtin: worker, replicas: 2, limits: {\(limits)}}\n"
        ).plan()
    }

    @Test func everyReplicaHasThem() throws {
        let plan = try self.plan(
            "openFiles: 65536, coreSize: 0, lockedMemory: unlimited, memory: 32Gi, nice: -5, cpus: [0-3, 8, 2]"
        )
        let limits = ProcessLimits(
            openFiles: 65536,
            coreSize: 0,
            lockedMemory: .max,
            memory: 32 << 30,
            nice: -5,
            cpus: [0, 1, 2, 3, 8]
        )
        #expect(plan.replicas.map(\.limits) == [limits, limits])
        let line = "limits    openFiles 65536, coreSize 0, lockedMemory unlimited, memory 32Gi, nice -5, cpus 0-3,8"
        #expect(plan.rendered().components(separatedBy: line).count == 3)
        // What the control interface and the journal carry.
        let copy = try JSONDecoder().decode(Plan.self, from: JSONEncoder().encode(plan))
        #expect(copy == plan)
    }

    @Test func whatBoundsNothingIsNone() throws {
        #expect(try self.plan("memory: unlimited").replicas[0].limits == nil)
        #expect(try self.plan("").replicas[0].limits == nil)
        #expect(try self.plan("cpus: 3").replicas[0].limits == ProcessLimits(cpus: [3]))
        #expect(try self.plan("coreSize: 1.5Ki").replicas[0].limits == ProcessLimits(coreSize: 1536))
    }

    @Test func aChangeOfThemIsAChangeOfTheProcess() throws {
        let change = PlanChange(from: try self.plan("nice: 5"), to: try self.plan("nice: 6"))
        #expect(change.changed.map(\.differences) == [["limits"], ["limits"]])
        #expect(PlanChange(from: try self.plan("cpus: 0-1"), to: try self.plan("cpus: [1, 0]")).isEmpty)
    }

    @Test func theyAreSaidToBeLostInACluster() throws {
        let manifest = try ManifestCase(
            "name: demo\nmodel: m\nprocesses:\n  worker: {builtin: worker, limits: {memory: 1Gi, nice: 1}}\n"
        ).manifest()
        func texts(_ target: FidelityReport.Target) -> [String] {
            FidelityReport(manifest, for: target).entries.filter { $0.key.contains("limits") }
                .map { "\($0.key) \($0.status)" }
        }
        #expect(texts(.systemd) == ["processes.worker.limits.memory kept", "processes.worker.limits.nice kept"])
        for target in [FidelityReport.Target.operator, .plain] {
            #expect(texts(target).count == 2)
            #expect(texts(target).allSatisfy { $0.contains("lost") }, "\(texts(target))")
        }
        #expect(texts(.singlePod)[0].contains("lost"))
        #expect(texts(.singlePod)[1].contains("approximated"))
    }
}
