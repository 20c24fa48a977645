import Discovery
import Foundation
import Logging
import RequestPlane
import TestSupport
import Testing

@Suite("Every back-end")
struct ConformanceTests {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    @Test("memory")
    func memory() async throws {
        let store = InMemoryDiscovery.Store()
        try await DiscoveryConformance.check(namespace: "conform") { InMemoryDiscovery(store: store) }
    }

    @Test("file")
    func file() async throws {
        try await withTemporaryDirectory { directory in
            try await DiscoveryConformance.check(namespace: "conform") {
                FileDiscovery(directory: directory.appending(path: "kv").path, logger: Self.quiet)
            }
        }
    }

    @Test("etcd", .timeLimit(.minutes(1)))
    func etcd() async throws {
        try await withEtcd { endpoint in
            try await DiscoveryConformance.check(namespace: "conform") {
                EtcdDiscovery(endpoints: [endpoint], logger: Self.quiet)
            }
            try await EtcdLease.check(endpoint: endpoint, logger: Self.quiet)
        }
    }
}
