import Deployment
import Testing

@Suite struct OverrideTests {
    private static let text = """
        name: demo
        planes: tcp
        processes:
          frontend: {builtin: frontend}
          worker:
            builtin: worker
            args: [--engine, echo]
            restart: never

        """

    private func plan(_ overrides: String...) throws -> Plan {
        var changed = ManifestCase(Self.text)
        changed.overrides.set = overrides
        return try changed.plan()
    }

    @Test func replacesAndAddsValues() throws {
        let plan = try self.plan(
            "model=echo",
            "processes.worker.replicas=2",
            "processes.worker.args.1=other",
            "processes.worker.args.2=--fast",
            "processes.worker.restart.maxRestarts=7",
            "processes.worker.env={A: \"b c\", D: \"\"}",
            "http.port=9000"
        )
        #expect(plan.model == "echo")
        #expect(plan.publicAddress.port == 9000)
        let workers = plan.replicas.filter { $0.process == "worker" }
        #expect(workers.map(\.name) == ["worker-0", "worker-1"])
        #expect(workers[0].arguments == ["--engine", "other", "--fast"])
        #expect(workers[0].restart.condition == .never)
        #expect(workers[0].restart.maximumRestarts == 7)
        #expect(workers[0].environment.first { $0.name == "A" }?.value == "b c")
        #expect(workers[0].environment.first { $0.name == "D" }?.value == "")
    }

    @Test func addsAWholeProcess() throws {
        let plan = try self.plan("processes.helper={role: infrastructure, command: [sleep, 1]}")
        #expect(plan.replicas.map(\.name) == ["helper", "frontend", "worker"])
    }

    /// `planes: tcp` is `planes: {request: tcp}`, and setting another plane does not lose it.
    @Test func shortFormsKeepTheirValue() throws {
        var changed = ManifestCase(
            "name: demo\nplanes: nats\ninfrastructure: {nats: managed}\nprocesses:\n  f: {module: dynamo.frontend}\n"
        )
        changed.overrides.set = ["planes.events=zmq", "infrastructure.nats.port=4333"]
        let plan = try changed.plan()
        #expect(plan.planes == PlaneSet(request: .nats, events: .zmq))
        #expect(plan.replicas.first?.ports.first?.port == 4333)
    }

    @Test func theLastOneWins() throws {
        #expect(try self.plan("model=a", "model=b").model == "b")
    }

    @Test func variablesWorkInOverrides() throws {
        #expect(try self.plan("model=${HOME}").model == "/home/ada")
    }

    @Test func theFlagWinsOverTheManifest() throws {
        var changed = ManifestCase("name: demo\nplanes: nats\nprocesses:\n  f: {module: dynamo.frontend}\n")
        changed.overrides.requestPlane = "tcp"
        #expect(try changed.plan().planes.request == .tcp)
    }
}
