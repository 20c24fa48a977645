import Foundation
import TestSupport
import Testing

/// The small cluster's API server refuses what a real one refuses and `migrate.sh` relies on.
@Suite("The small cluster", .timeLimit(.minutes(1)))
struct FakeClusterTests {
    private static let lease = """
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}}
        """
    private static let workload = """
        apiVersion: v1
        kind: Service
        metadata: {name: x}
        spec: {selector: {a: b}, ports: [{port: 80}]}
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: x}
        spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}
        """

    @Test func `it refuses what an API server refuses`() async throws {
        try await FakeCluster.run("x") { cluster in
            let kubectl = try TestEnvironment.kubernetesTool("kubectl")
            func file(_ name: String, _ text: String) throws -> String {
                let place = cluster.directory.appending(path: name)
                try Data(text.utf8).write(to: place)
                return place.path()
            }
            let lease = try file("lease.json", Self.lease)
            let workload = try file("workload.yaml", Self.workload)
            try await cluster.kubectl("create", "-f", lease)
            try await cluster.kubectl("apply", "-f", workload)
            let old = try file("old.yaml", try await cluster.kubectl("get", "lease", "l", "-o", "yaml"))
            let take =
                #"[{"op": "test", "path": "/spec/holderIdentity", "value": "a"}, {"op": "add", "path": "/spec/holderIdentity", "value": "b"}]"#
            try await cluster.kubectl("patch", "lease", "l", "--type=json", "-p", take)
            try await eventually(within: .seconds(10), "the Service has an address") {
                try await !cluster.kubectl("get", "service", "x", "-o", "jsonpath={.spec.clusterIP}").isEmpty
            }
            let unknown = try file("unknown.json", Self.lease.replacing("holderIdentity", with: "holder"))
            let other = try file("other.yaml", Self.workload.replacing("a: b", with: "a: c"))
            let torn = try file("torn.yaml", Self.workload.replacing("labels: {a: b}", with: "labels: {a: c}"))
            for (arguments, words) in [
                (["create", "-f", lease], "(AlreadyExists)"),
                (["create", "-f", unknown], "strict decoding error"),
                (["patch", "lease", "l", "--type=json", "-p", take], "the server rejected our request"),
                (["replace", "-f", old], "(Conflict)"),
                (["get", "lease", "m"], "(NotFound)"),
                (["apply", "-f", other], "field is immutable"),
                (["apply", "-f", torn], "`selector` does not match template `labels`"),
                (["patch", "service", "x", "-p", #"{"spec": {"clusterIP": "10.0.0.9"}}"#], "may not change once set"),
            ] {
                let ending = try await cluster.run(kubectl, arguments)
                #expect(ending.exit == .code(1) && ending.output.contains(words), "\(arguments): \(ending.output)")
            }
            // What has a status of its own is not changed on that way.
            try await cluster.kubectl(
                "patch",
                "deployment",
                "x",
                "--subresource=status",
                "--type=merge",
                "-p",
                #"{"spec": {"replicas": 3}}"#
            )
            #expect(try await cluster.kubectl("get", "deployment", "x", "-o", "jsonpath={.spec.replicas}") == "0")
        }
    }
}
