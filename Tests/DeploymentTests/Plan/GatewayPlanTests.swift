import Foundation
import Testing

@testable import Deployment

/// Who has the public port.
@Suite struct GatewayPlanTests {
    private func plan(
        _ gateway: String,
        host: String = "0.0.0.0",
        port: String = "8123",
        frontend: String = "{builtin: frontend}"
    ) throws -> Plan {
        try ManifestCase(
            """
            name: demo
            http: {host: \(host), port: \(port)}
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
        #expect(
            plan.rendered().contains(
                "gateway     holds up to 1024 requests (67108864 bytes) for 1m while no frontend is ready\n"
            )
        )
    }

    @Test(
        arguments: [
            ("{builtin: frontend}", true), ("{module: dynamo.frontend}", true),
            ("{command: [python3, -m, dynamo.frontend], role: frontend}", true),
            // These say where they listen, or nobody knows whether they would listen where they are told.
            ("{builtin: frontend, ports: {http: 9000}}", false),
            ("{builtin: frontend, args: [--http-port, 8123]}", false),
            ("{module: dynamo.frontend, env: {DYN_HTTP_PORT: 8123}}", false),
            ("{command: [sleep, 9], role: frontend}", false),
        ]
    )
    func `when nothing is said the launcher has the port of frontends that listen where they are told`(
        _ frontend: String,
        _ hasGateway: Bool
    ) throws {
        let http = frontend.contains("9000") ? "" : "http: {port: 8123}"
        let plan = try ManifestCase(
            "name: demo\n\(http)\nprocesses:\n  frontend: \(frontend)\n  worker: {builtin: worker}\n"
        )
        .plan()
        #expect(plan.gateway == (hasGateway ? GatewayPlan() : nil))
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
            """
            {hold: {requests: 5, bytes: 100, time: 2m}, bodyLimit: 1000, headerLimit: 2000, connections: 10, \
            timeouts: {header: 1s, body: 2s, idle: 3s, write: 500ms}, tls: {certificate: a.pem, key: /etc/a.key}, \
            listeners: ["unix:run/a.sock", {unix: /run/b, mode: 0600}, "[::1]:9001", {address: "10.0.0.1:8123", tls: false}], \
            metrics: 9100, idleExit: 30m}
            """,
            host: "127.0.0.1"
        )
        #expect(
            plan.gateway
                == GatewayPlan(
                    hold: GatewayPlan.Hold(requests: 5, bytes: 100, time: 120),
                    bodyLimit: 1000,
                    headerLimit: 2000,
                    connections: 10,
                    timeouts: GatewayPlan.Timeouts(header: 1, body: 2, idle: 3, write: 0.5),
                    tls: GatewayPlan.TLS(certificate: "/srv/demo/a.pem", key: "/etc/a.key"),
                    listeners: [
                        .unix(path: "/srv/demo/run/a.sock", mode: "0660"), .unix(path: "/run/b", mode: "0600"),
                        .address(HTTPAddress(host: "::1", port: 9001), tls: true),
                        .address(HTTPAddress(host: "10.0.0.1", port: 8123), tls: false),
                    ],
                    metrics: HTTPAddress(host: "127.0.0.1", port: 9100),
                    idleExit: 1800
                )
        )
        #expect(plan.publicURL == "https://127.0.0.1:8123")
        let text = plan.rendered()
        for line in [
            "  public      127.0.0.1:8123 (https://127.0.0.1:8123)",
            "  limits      headers up to 2000 bytes, bodies up to 1000 bytes, 10 connections",
            "  timeouts    header 1s, body 2s, idle 3s, write 500ms",
            "  tls         certificate /srv/demo/a.pem, key /etc/a.key",
            "  listener    unix:/srv/demo/run/a.sock, mode 0660",
            "  listener    unix:/run/b, mode 0600", "  listener    [::1]:9001 (TLS)", "  listener    10.0.0.1:8123",
            "  metrics     http://127.0.0.1:9100/metrics",
            "  idle        ends after 30m without a request, when systemd holds the socket",
        ] {
            #expect(text.contains(line + "\n"), "\(text)")
        }
        #expect(try JSONDecoder().decode(GatewayPlan.self, from: JSONEncoder().encode(plan.gateway)) == plan.gateway)
        #expect(try self.plan("{hold: false}").gateway?.hold.requests == 0)
    }

    @Test(
        arguments: [
            ("yes", "'gateway' must be true, false or a mapping"), ("{holds: {}}", "unknown key 'holds' in 'gateway'"),
            ("{hold: {time: soon}}", "'gateway.hold.time'"), ("{bodyLimit: 0}", "'gateway.bodyLimit'"),
            ("{hold: true}", "'gateway.hold'"), ("{headerLimit: 100}", "'gateway.headerLimit' is 100"),
            ("{timeouts: {write: 0s}}", "'gateway.timeouts.write' must be longer than 0"),
            ("{timeouts: {wirte: 1s}}", "write 'write'"), ("{timeouts: 5s}", "'gateway.timeouts' must be a mapping"),
            ("{tls: {certificate: a}}", "'gateway.tls' has no 'key'"),
            ("{tls: true}", "'gateway.tls' must be a mapping"),
            ("{tls: {certificate: '', key: b}}", "'gateway.tls.certificate' is empty"),
            ("{listeners: unix:/a}", "'gateway.listeners' must be a list"),
            ("{listeners: [9000]}", "a listener is no address: '9000'"),
            ("{listeners: ['::1:9000']}", "a listener is no address"),
            ("{listeners: ['http://a:9000']}", "a listener is no address"),
            ("{listeners: ['unix:']}", "the socket has no path"),
            ("{listeners: ['unix:/a', {unix: /a}]}", "the listener is there twice"),
            ("{listeners: [{unix: /a, mode: 999}]}", "'mode' must be three octal digits, not '999'"),
            ("{listeners: [{unix: /a, tls: false}]}", "a Unix socket is served without TLS"),
            ("{listeners: [{address: 'a:1', mode: 600}]}", "only a Unix socket has a mode"),
            ("{listeners: [{address: 'a:1', tls: true}]}", "a listener with TLS needs a certificate"),
            ("{listeners: [{mode: 600}]}", "either an 'address' or a 'unix' path"),
            ("{listeners: [{adress: 'a:1'}]}", "write 'address'"),
            ("{listeners: ['127.0.0.1:8000']}", "also the port of the public address"),
            ("{listeners: ['1.1.1.1:9000'], metrics: '1.1.1.1:9000'}", "also the port of the gateway's listener"),
            ("{metrics: true}", "'gateway.metrics' is no address: 'true'"),
            ("{metrics: 70000}", "write a port, or HOST:PORT"),
            ("{idleExit: 0}", "'gateway.idleExit'"), ("{idleExit: never}", "'gateway.idleExit'"),
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
        let metrics = ManifestCase(
            "name: demo\ngateway: {metrics: 9100}\nprocesses:\n  frontend: {builtin: frontend, ports: {http: 9100}}\n"
        ).errors
        #expect(metrics.contains("port 9100") && metrics.contains("the gateway's metrics"), "\(metrics)")
        let none = ManifestCase("name: demo\ngateway: true\nprocesses:\n  worker: {builtin: worker}\n").errors
        #expect(none.contains("nothing to forward to"), "\(none)")
    }
}
