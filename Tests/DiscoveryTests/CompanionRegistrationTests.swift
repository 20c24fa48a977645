import Discovery
import Foundation
import Logging
import RequestPlane
import TestSupport
import Testing

/// Records beside those of another process.
@Suite struct CompanionRegistrationTests {
    private let logger = Logger(label: "test")

    private func record(_ name: String, _ id: InstanceID) -> DiscoveryRecord {
        let endpoint = EndpointID(namespace: "ns", component: "backend", name: name)
        return .instance(InstanceRecord(Instance(endpoint: endpoint, id: id, transport: .tcp("127.0.0.1:1/\(name)"))))
    }

    private func names(_ client: any DiscoveryClient) async throws -> Set<String> {
        Set(try await client.snapshot(.all).instances.map { "\($0.instance.id) \($0.instance.endpoint.name)" })
    }

    @Test func `files stand beside the worker's, and only they are taken back`() async throws {
        try await withTemporaryDirectory { directory in
            let worker = FileDiscovery(directory: directory.path(), logger: self.logger)
            let id = worker.instanceID()
            let companion = CompanionRegistration(directory: directory.path(), of: id, logger: self.logger)
            try await worker.publish([self.record("generate", id)])
            try await companion.publish([self.record("query", id)])
            #expect(try await self.names(worker) == ["\(id) generate", "\(id) query"])
            await companion.withdraw()
            #expect(try await self.names(worker) == ["\(id) generate"])
        }
    }

    @Test func `with etcd they go with the worker's lease, and are refused when it is gone`() async throws {
        try await withEtcd { url in
            let worker = EtcdDiscovery(endpoints: [url], logger: self.logger)
            let reader = EtcdDiscovery(endpoints: [url], logger: self.logger)
            let id = try await worker.instanceID()
            let companion = CompanionRegistration(EtcdConfiguration(endpoints: [url]), of: id, logger: self.logger)
            try await worker.publish([self.record("generate", id)])
            try await companion.publish([self.record("query", id), self.record("other", id)])
            #expect(try await self.names(reader) == ["\(id) generate", "\(id) query", "\(id) other"])
            await companion.withdraw()
            #expect(try await self.names(reader) == ["\(id) generate"])

            try await companion.publish([self.record("query", id)])
            await worker.withdraw()
            #expect(try await self.names(reader) == [])
            await #expect(throws: DiscoveryError.self) { try await companion.publish([self.record("query", id)]) }
            #expect(try await self.names(reader) == [])
        }
    }
}
