import Deployment
import Testing

@testable import Gateway
@testable import Supervisor
@testable import dynamo_launch

/// What a kubelet is told.
@Suite struct LauncherHealthTests {
    private static func status(
        _ state: DeploymentStatus.State,
        _ replicas: [(String, ReplicaStatus.State)] = [],
        failure: String? = nil
    ) -> DeploymentStatus {
        DeploymentStatus(
            deployment: "demo",
            generation: 1,
            state: state,
            failure: failure,
            planes: PlaneSet(request: .tcp, events: .none),
            namespace: "demo",
            url: "http://127.0.0.1:8000",
            launcherPID: 1,
            uptime: 1,
            replicas: replicas.map { name, state in
                ReplicaStatus(
                    name: name,
                    process: String(name.prefix { $0 != "-" }),
                    role: .worker,
                    state: state,
                    reached: [],
                    waitingFor: state == .starting ? "health: 503" : nil,
                    restarts: 0,
                    lastExit: state == .backingOff ? "exit code 3" : nil,
                    ports: [],
                    logFile: "/l"
                )
            },
            warnings: [],
            survivors: []
        )
    }

    private static func reason(_ status: DeploymentStatus?, isStopping: Bool = false) -> String {
        let answer = LauncherHealth.ready(status, isStopping: isStopping)
        #expect(answer.contentType == "application/json")
        return "\(answer.status) \(answer.text)"
    }

    @Test func `it is ready while it serves, and says otherwise why not`() {
        #expect(Self.reason(Self.status(.ready)) == "200 {\"deployment\":\"demo\",\"state\":\"ready\"}\n")
        #expect(
            Self.reason(nil) == "503 {\"reason\":\"the deployment is about to be started\",\"state\":\"starting\"}\n"
        )
        #expect(
            Self.reason(Self.status(.starting, [("a", .ready), ("c", .waiting), ("b", .starting)]))
                == "503 {\"deployment\":\"demo\",\"reason\":\"b is starting, waits for health: 503\",\"state\":\"starting\"}\n"
        )
        #expect(Self.reason(Self.status(.starting, [("a", .ready)])).contains("readiness request is under way"))
        #expect(Self.reason(Self.status(.failed, failure: "x \"died\"")).contains(#""reason":"x \"died\"""#))
        #expect(Self.reason(Self.status(.ready), isStopping: true).hasPrefix("503 "))
        #expect(Self.reason(nil, isStopping: true).hasPrefix("503 "))
    }

    @Test func `one whose event plane has lost its server serves, and says what it lacks`() {
        var status = Self.status(.degraded, [("worker", .ready)])
        status.externalServices = [
            ExternalServiceStatus(name: "nats", url: "nats://there", failure: "refused", silentFor: 3)
        ]
        #expect(Self.reason(status).contains(#""missing":["nats at nats://there has not answered for 3.00 s: refused"#))
        #expect(Self.reason(status).hasPrefix("200 "))
        // Not ready yet: that is what it waits for.
        status.state = .starting
        #expect(Self.reason(status).contains(#""reason":"nats at nats://there has not answered for 3.00 s: refused"#))
    }

    @Test func `one that lost a replica serves as long as each process has another`() {
        let one = Self.status(.degraded, [("worker-0", .backingOff), ("worker-1", .ready), ("frontend", .ready)])
        #expect(
            Self.reason(one)
                == "200 {\"deployment\":\"demo\",\"missing\":[\"worker-0 is backing-off, ended last with exit code 3\"],\"state\":\"degraded\"}\n"
        )
        let none = Self.status(.degraded, [("worker-0", .backingOff), ("worker-1", .unready), ("frontend", .ready)])
        #expect(Self.reason(none).contains("worker-0 is backing-off, ended last with exit code 3"))
        #expect(Self.reason(none).hasPrefix("503 "))
    }

    @Test func `it lives as long as it answers`() {
        #expect(LauncherHealth.live(nil).status == 200)
        #expect(LauncherHealth.live(Self.status(.failed)).status == 200)
    }

    @Test func `an address is a port of this machine, or says its own`() throws {
        #expect(try HTTPAddress(watched: "9180") == HTTPAddress(host: "127.0.0.1", port: 9180))
        #expect(try HTTPAddress(watched: "[::]:1") == HTTPAddress(host: "::", port: 1))
        for text in ["", "x", "0", "a:b", "1.2.3.4", "70000"] {
            #expect(throws: (any Error).self, "\(text)") { try HTTPAddress(watched: text) }
        }
    }
}
