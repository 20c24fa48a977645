import DynamoRuntime
import Logging
import TestSupport
import Testing

@Suite("The system server of a worker")
struct SystemServerTests {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func withServer(_ health: HealthStatus, _ body: (String) async throws -> Void) async throws {
        let port = Recorded(0)
        let server = SystemServer(
            configuration: .init(host: "127.0.0.1", port: 0),
            health: health,
            metrics: { "m 1\n" },
            logger: Self.quiet
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run { listening in port.value = listening } }
            try await eventually("the server listens") { port.value != 0 }
            try await body("http://127.0.0.1:\(port.value)")
            group.cancelAll()
            while let result = await group.nextResult() { _ = result }
        }
    }

    @Test("health follows the endpoints: none, set up, ready, draining")
    func health() async throws {
        let health = HealthStatus()
        try await self.withServer(health) { url in
            for path in ["/health", "/live"] {
                let answer = try await HTTPRequests.get(url + path)
                #expect(answer.status == 503)
                #expect(try answer.object()["status"] as? String == "notready")
            }
            health.set("generate", isReady: false)
            #expect(
                try await HTTPRequests.get(url + "/health").object()["endpoints"] as? [String: String] == [
                    "generate": "notready"
                ]
            )
            health.set("generate", isReady: true)
            let ready = try await HTTPRequests.get(url + "/health")
            #expect(ready.status == 200)
            #expect(ready.text.hasPrefix(#"{"status":"ready","uptime":{"secs":0,"nanos":"#))
            #expect(ready.text.hasSuffix(#","endpoints":{"generate":"ready"}}"#))
            health.drain()
            #expect(try await HTTPRequests.get(url + "/health").status == 503)
        }
    }

    @Test("the status to start with stays until the end; endpoints that are named decide alone")
    func told() {
        let told = HealthStatus(starting: .ready)
        #expect(told.isReady)
        told.set("generate", isReady: false)
        #expect(told.isReady)
        told.drain()
        #expect(!told.isReady)

        let named = HealthStatus(starting: .ready, deciding: ["generate"])
        #expect(!named.isReady)
        named.set("generate", isReady: true)
        named.set("other", isReady: false)
        #expect(named.isReady)
    }

    @Test("metrics, unknown paths and other methods")
    func rest() async throws {
        try await self.withServer(HealthStatus()) { url in
            #expect(try await HTTPRequests.get(url + "/metrics?x=1").text == "m 1\n")
            let unknown = try await HTTPRequests.get(url + "/nope")
            #expect((unknown.status, unknown.text) == (404, "Route not found"))
            #expect(try await HTTPRequests.post(url + "/health", json: "{}").status == 405)
        }
    }

    @Test("a port that is taken is an error that says what to change")
    func taken() async throws {
        try await self.withServer(HealthStatus()) { url in
            let port = try #require(Int(url.split(separator: ":").last ?? ""))
            let second = SystemServer(
                configuration: .init(host: "127.0.0.1", port: port),
                health: HealthStatus(),
                metrics: { "" },
                logger: Self.quiet
            )
            let error = await #expect(throws: ConfigurationError.self) { try await second.run() }
            #expect(
                error?.description == "cannot listen on 127.0.0.1:\(port): Address already in use; "
                    + "set DYN_SYSTEM_HOST and DYN_SYSTEM_PORT to a free address"
            )
        }
    }
}
