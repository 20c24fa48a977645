import Testing

@testable import Deployment

/// Who has the public port.
@Suite struct GatewayPlanTests {
    private func plan(_ gateway: String, port: String = "8123", frontend: String = "{builtin: frontend}") throws -> Plan
    {
        try ManifestCase(
            """
            name: demo
            http: {host: 0.0.0.0, port: \(port)}
            gateway: \(gateway)
            processes:
              frontend: \(frontend)
              worker: {builtin: worker}
            """
        ).plan()
    }

    private func variable(_ name: String, of replica: ReplicaPlan) -> String? {
        replica.environment.first { $0.name == name }?.value
    }

    @Test func `behind a gateway frontends have ports of their own on this machine`() throws {
        let plan = try self.plan("true", frontend: "{builtin: frontend, replicas: 2}")
        #expect(plan.gateway == GatewayPlan())
        #expect(plan.publicAddress == HTTPAddress(host: "0.0.0.0", port: 8123))
        let frontends = plan.replicas.filter { $0.role == .frontend }
        #expect(frontends.count == 2)
        #expect(!frontends.flatMap(\.ports).map(\.port).contains(8123))
        #expect(Set(frontends.flatMap(\.ports).map(\.port)).count == 2)
        for frontend in frontends {
            let port = try #require(frontend.ports.first).port
            #expect(self.variable("DYN_HTTP_HOST", of: frontend) == "127.0.0.1")
            #expect(self.variable("DYN_HTTP_PORT", of: frontend) == "\(port)")
            #expect(frontend.readiness.contains { $0.probe == .tcp(host: "127.0.0.1", port: port) })
            let base = "http://127.0.0.1:\(port)"
            #expect(frontend.readiness.contains { $0.probe == .modelReady(baseURL: base, model: nil) })
        }
        #expect(plan.rendered().contains("gateway     holds up to 1024 requests (67108864 bytes) for 1m while"))
    }

    @Test func `without one the frontend has the public port`() throws {
        let plan = try self.plan("false")
        #expect(plan.gateway == nil)
        let frontend = try #require(plan.replicas.first { $0.role == .frontend })
        #expect(frontend.ports.map(\.port) == [8123])
        #expect(!plan.rendered().contains("gateway"))
    }

    @Test func `an automatic port is leased for the gateway`() throws {
        let plan = try self.plan("true", port: "auto")
        let ports = plan.replicas.flatMap(\.ports).map(\.port)
        #expect(plan.publicAddress.port >= 20000)
        #expect(!ports.contains(plan.publicAddress.port))
    }

    @Test func `everything can be said`() throws {
        let plan = try self.plan(
            "{hold: {requests: 5, bytes: 100, time: 2m}, bodyLimit: 1000, connections: 10, idleExit: 30m}"
        )
        #expect(
            plan.gateway
                == GatewayPlan(
                    hold: GatewayPlan.Hold(requests: 5, bytes: 100, time: 120),
                    bodyLimit: 1000,
                    connections: 10,
                    idleExit: 1800
                )
        )
        #expect(
            plan.rendered().contains("10 connections; ends after 30m without a request, when systemd holds the socket")
        )
        #expect(try self.plan("{hold: false}").gateway?.hold.requests == 0)
    }

    @Test(
        arguments: [
            ("yes", "'gateway' must be true, false or a mapping"), ("{holds: {}}", "unknown key 'holds' in 'gateway'"),
            ("{hold: {time: soon}}", "'gateway.hold.time'"), ("{bodyLimit: 0}", "'gateway.bodyLimit'"),
            ("{hold: true}", "'gateway.hold'"), ("{idleExit: 0}", "'gateway.idleExit'"),
            ("{idleExit: never}", "'gateway.idleExit'"),
        ]
    )
    func `what cannot be is said with its place`(gateway: String, text: String) throws {
        let errors = ManifestCase(
            "name: demo\ngateway: \(gateway)\nprocesses:\n  frontend: {builtin: frontend}\n  worker: {builtin: worker}\n"
        ).errors
        #expect(errors.contains("test.yaml:2:") && errors.contains(text), "\(errors)")
    }

    @Test func `a frontend cannot have the gateway's port, and a gateway needs a frontend`() throws {
        let taken = ManifestCase(
            "name: demo\ngateway: true\nhttp: {port: 8123}\nprocesses:\n  frontend: {builtin: frontend, ports: {http: 8123}}\n"
        ).errors
        #expect(taken.contains("port 8123") && taken.contains("the gateway"), "\(taken)")
        let none = ManifestCase("name: demo\ngateway: true\nprocesses:\n  worker: {builtin: worker}\n").errors
        #expect(none.contains("nothing to forward to"), "\(none)")
    }
}
