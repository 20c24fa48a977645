import Testing

@testable import Deployment

/// Deployments that outlive their launcher, as plans.
@Suite struct SurvivePlanTests {
    private static func manifest(_ head: String = "survive: true", worker: String = "{builtin: worker}") -> ManifestCase
    {
        ManifestCase(
            """
            name: demo
            \(head)
            processes:
              frontend: {builtin: frontend}
              worker: \(worker)
            """
        )
    }

    @Test func `the key arrives in the plan, and is shown`() throws {
        let plan = try Self.manifest().plan()
        #expect(plan.survive)
        #expect(plan.rendered().contains("  survive     processes go on without the launcher"))
        let without = try Self.manifest("survive: false").plan()
        #expect(!without.survive && !without.rendered().contains("survive"))
        #expect(try !Self.manifest("").plan().survive)
    }

    @Test func `what runs stays as it is in the plan that adopts it, and what has no place any more is in it`() throws {
        let wanted = try Self.manifest(worker: "{builtin: worker, env: {EXTRA: \"1\"}}").plan()
        var running = try Self.manifest().plan()
        var gone = running.replicas[0]
        gone.process = "gone"
        gone.name = "gone"
        running.replicas.append(gone)
        running.replicas.removeAll { $0.name == "frontend" }
        let plan = wanted.adopting(running)
        #expect(plan.replicas.map(\.name).sorted() == ["frontend", "gone", "worker"])
        #expect(plan.replicas.first { $0.name == "worker" } == running.replicas.first { $0.name == "worker" })
        let change = PlanChange(from: plan, to: wanted)
        #expect(change.changed.map(\.name) == ["worker"] && change.changed[0].differences == ["environment: EXTRA"])
        #expect(change.removed.map(\.name) == ["gone"] && change.added.isEmpty && change.refusals.isEmpty)
    }

    @Test func `it cannot be turned on while the deployment runs, but off`() throws {
        let (on, off) = (try Self.manifest().plan(), try Self.manifest("survive: false").plan())
        #expect(
            PlanChange(from: off, to: on).refusals == [
                "survive cannot be turned on while the deployment runs: nothing was kept for it"
            ]
        )
        #expect(PlanChange(from: on, to: off).refusals.isEmpty)
    }

    @Test func `another shell's variables make no other processes, those of the manifest do`() throws {
        var facts = Self.manifest().facts
        facts.environment["SHLVL"] = "1"
        facts.environment["FOO"] = "first"
        let source = try Self.manifest("env: {BAR: \"${FOO}\"}").with(environment: ["FOO": "first"]).manifest()
        let first = try Planner.plan(source, facts: facts)
        var variables: [String: String] = [:]
        for variable in first.replicas.flatMap(\.environment) where variable.source == .inherited {
            variables[variable.name] = variable.value
        }
        facts = Self.manifest().facts
        facts.environment["SHLVL"] = "2"
        facts.environment["SSH_TTY"] = "/dev/pts/1"
        facts.environment["FOO"] = "second"
        facts.inherited = variables
        let same = try Planner.plan(source, facts: facts)
        #expect(PlanChange(from: first, to: same).isEmpty)
        // Ports are given out from the first one again.
        var again = Self.manifest().facts
        again.environment["FOO"] = "second"
        again.inherited = variables
        let other = try Self.manifest("env: {BAR: \"${FOO}\"}").with(environment: ["FOO": "second"]).manifest()
        let changed = PlanChange(from: first, to: try Planner.plan(other, facts: again)).changed
        #expect(Set(changed.flatMap(\.differences)) == ["environment: BAR"])
    }

    @Test func `values of preflights are kept, and not shown`() throws {
        var plan = try Self.manifest().plan()
        plan.given = StartValues(
            preflights: [StartValues.Preflight(command: ["a", "b"], value: "secret")],
            scaled: ["worker": 2]
        )
        #expect(plan.masked.given == nil)
    }
}

extension ManifestCase {
    fileprivate func with(environment: [String: String]) -> ManifestCase {
        var manifest = self
        manifest.environment.merge(environment) { $1 }
        return manifest
    }
}
