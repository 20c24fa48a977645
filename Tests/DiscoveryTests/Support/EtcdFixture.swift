import Discovery
import Foundation
import Logging
import RequestPlane
import TestSupport
import Testing

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
