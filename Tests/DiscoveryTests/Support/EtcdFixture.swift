import Discovery
import Foundation
import Logging
import RequestPlane
import TestSupport
import Testing

/// Starts etcd on free ports, gives its URL to a body, and stops it.
func withEtcd(_ body: (String) async throws -> Void) async throws {
    try await withTemporaryDirectory { directory in
        let (client, peer) = (try freePort(), try freePort())
        let urls = ["http://127.0.0.1:\(client)", "http://127.0.0.1:\(peer)"]
        _ = try await withProgram(
            "/usr/bin/etcd",
            [
                "--data-dir", directory.path, "--listen-client-urls", urls[0], "--advertise-client-urls", urls[0],
                "--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1], "--initial-cluster",
                "default=\(urls[1])", "--log-level", "error",
            ]
        ) { _ in
            try await eventually("etcd answers") {
                (try? await HTTPRequests.get(urls[0] + "/health", limit: 1))?.status == 200
            }
            try await body(urls[0])
        }
    }
}

enum EtcdLease {
    /// The instance id is the lease's, and what is no longer kept alive disappears by itself.
    static func check(endpoint: String, logger: Logger) async throws {
        let worker = EtcdDiscovery(endpoints: [endpoint], logger: logger)
        let reader = EtcdDiscovery(endpoints: [endpoint], logger: logger)
        let id = try await worker.instanceID()
        try await worker.publish(DiscoveryConformance.records(namespace: "lease", id: id))
        #expect(try await reader.snapshot(.exact("lease")).instances.map(\.instance.id) == [id])
        await worker.withdraw()
        #expect(try await reader.snapshot(.exact("lease")).instances.isEmpty)
        try await worker.publish(DiscoveryConformance.records(namespace: "lease", id: id))
        #expect(try await reader.snapshot(.exact("lease")).instances.map(\.instance.id) == [id])
        // Nobody runs the worker.
        try await eventually(within: .seconds(20), "the lease runs out") {
            try await reader.snapshot(.exact("lease")).instances.isEmpty
        }
    }
}
