import Foundation
import Testing

@testable import Deployment

/// What a manifest says of moving to another generation.
@Suite struct MigrationSettingsTests {
    private func plan(_ migration: String, environment: [String: String] = [:], set: [String] = []) throws -> Plan {
        var manifest = ManifestCase(
            """
            name: demo
            \(migration)
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker}
            """
        )
        manifest.environment.merge(environment) { _, new in new }
        manifest.overrides.set = set
        return try manifest.plan()
    }

    @Test func `without the key the defaults hold and nothing is printed of them`() throws {
        let plan = try self.plan("")
        #expect(plan.migration == MigrationSettings())
        #expect(!plan.rendered().contains("migration"))
    }

    @Test func `every key arrives in the plan`() throws {
        let plan = try self.plan(
            """
            migration:
              strategy: rolling
              steps: [1, 50%, "100 %"]
              canary:
                - {prompt: "2 + 2 =", expect: "4|four", maxTokens: 8, timeout: 500ms}
                - {prompt: Hello}
              observe: 0
              thresholds: {errorRate: 12.5%, firstToken: 1.5, betweenTokens: 2, minimumRequests: 1}
              startTimeout: 5m
              drainTimeout: 20
              rollbackWindow: 0
              minimumWorkers: 0
            """
        )
        let wanted = MigrationSettings(
            strategy: .rolling,
            steps: [1, 50, 100],
            canary: [
                .init(prompt: "2 + 2 =", expect: "4|four", maxTokens: 8, timeout: 0.5), .init(prompt: "Hello"),
            ],
            observe: 0,
            thresholds: .init(errorRate: 0.125, firstToken: 1.5, betweenTokens: 2, minimumRequests: 1),
            startTimeout: 300,
            drainTimeout: 20,
            rollbackWindow: 0,
            minimumWorkers: 0
        )
        #expect(plan.migration == wanted)
        #expect(
            try JSONDecoder().decode(MigrationSettings.self, from: JSONEncoder().encode(plan.migration)) == wanted
        )
        let text = plan.rendered()
        for line in [
            "  migration   rolling: worker by worker, at least 0 of them ready, unwatched, ready within 5m, drained within 20s\n",
            "  canary      '2 + 2 =' gets an answer that matches /4|four/ within 500ms, of at most 8 tokens\n",
            "  canary      'Hello' gets any answer within 30s, of at most 32 tokens\n",
            "  thresholds  12.5% errors, 1.5 times the time to first token, 2 times the time between tokens, from 1 requests on\n",
        ] {
            #expect(text.contains(line), "\(text)")
        }
    }

    @Test func `variables and overrides work in it`() throws {
        let plan = try self.plan(
            "migration: {strategy: '${STRATEGY}', steps: ['${SHARE}', 100]}",
            environment: ["STRATEGY": "recreate", "SHARE": "10%", "WATCH": "3s"],
            set: ["migration.observe=${WATCH}", "migration.thresholds.errorRate=0.5", "migration.steps.0=7"]
        )
        #expect(plan.migration.strategy == .recreate)
        #expect(plan.migration.steps == [7, 100])
        #expect(plan.migration.observe == 3)
        #expect(plan.migration.thresholds == .init(errorRate: 0.5))
    }

    @Test func `a change of it alone touches no process`() throws {
        let change = PlanChange(
            from: try self.plan(""),
            to: try self.plan("migration: {strategy: rolling, observe: 1s}")
        )
        #expect(change.isEmpty)
        #expect(change.refusals.isEmpty)
        #expect(change.unchanged == ["frontend", "worker"])
    }
}
