import Deployment
import KVRouting
import Testing

@testable import dynamo_launch

/// Which deployments `kv` can follow, and with what.
@Suite struct KVPlaneAccessTests {
    static func plan(
        _ events: PlaneSet.Events,
        release: DynamoRelease? = nil,
        _ environment: [(String, String)] = []
    ) -> Plan {
        Plan(
            deployment: "chat",
            planes: PlaneSet(request: .tcp, events: events),
            namespace: "chat",
            discovery: .memory,
            release: release,
            publicAddress: HTTPAddress(host: "127.0.0.1", port: 8000),
            directories: DeploymentDirectories(state: "/tmp/state", runtime: "/tmp/runtime"),
            replicas: [
                ReplicaPlan(
                    process: "worker",
                    name: "worker",
                    role: .worker,
                    executable: "/bin/true",
                    environment: environment.map { EnvironmentVariable(name: $0, value: $1, source: .manifest) },
                    workingDirectory: "/"
                )
            ]
        )
    }

    @Test(arguments: [
        (PlaneSet.Events.none, "no event plane"), (.jetstream, "is jetstream"),
    ])
    func `what cannot be followed is refused with the reason`(events: PlaneSet.Events, reason: String) {
        let refusal = #expect(throws: KVPlaneAccess.Refusal.self) {
            try KVPlaneAccess(Self.plan(events), caller: [:])
        }
        #expect(refusal?.description.contains(reason) == true, "\(String(describing: refusal))")
    }

    @Test func `workers of every release are followed on both planes`() throws {
        for release in [nil, DynamoRelease(1, 2, 1), DynamoRelease(1, 6, 1)] {
            #expect(try KVPlaneAccess(Self.plan(.natsCore, release: release), caller: [:]).plane == .nats)
            #expect(try KVPlaneAccess(Self.plan(.zmq, release: release), caller: [:]).plane == .zmq)
        }
    }

    @Test func `the workers' address is taken, their ports are not, and secrets come from the caller`() throws {
        let plan = Self.plan(
            .natsCore,
            release: DynamoRelease(1, 2, 1),
            [("NATS_SERVER", "nats://127.0.0.1:4333"), ("NATS_AUTH_TOKEN", Secrets.mask), ("DYN_TCP_RPC_PORT", "9")]
        )
        let access = try KVPlaneAccess(plan, caller: ["NATS_AUTH_TOKEN": "open", "NATS_SERVER": "nats://elsewhere:1"])
        #expect(access.environment == ["NATS_SERVER": "nats://127.0.0.1:4333", "NATS_AUTH_TOKEN": "open"])
    }
}
