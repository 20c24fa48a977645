import Discovery
import KVEvents
import KVRouter
import KVRouting
import Logging
import NATS
import NIOCore
import RequestPlane
import TestSupport
import Testing

/// A whole router on a real NATS server, its workers played by the test.
@Suite struct RoutingServiceTests {
    private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func withService(
        _ body: (RoutingService, WorkerRouterTests.Workers, Recorded<[WorkerLoad]>) async throws -> Void
    ) async throws {
        try await NATSServerFixture.run { server in
            let settings = NATSConfiguration(servers: [NATSServerAddress(host: "127.0.0.1", port: server.port)])
            let plane = try await RoutingPlane.connect(settings, logger: Self.logger)
            let listener = try await NATSConnection.connect(settings, logger: Self.logger)
            let loads = Recorded<[WorkerLoad]>([])
            let subscription = try await listener.subscribe("namespace.dynamo.kv_metrics") { _ in
            } handler: { message in
                if let envelope = try? EventEnvelope(message.payload), let load = try? WorkerLoad(envelope.payload) {
                    #expect(envelope.publisher == 7)
                    loads.value.append(load)
                }
                return .more
            }
            try await listener.flush()
            var configuration = RouterConfiguration()
            configuration.mode = .kv
            configuration.syncsReplicas = true
            configuration.minimalWorkers = 1
            let workers = WorkerRouterTests.Workers()
            let service = RoutingService(
                of: WorkerRouterTests.endpoint,
                blockSize: 4,
                configuration: configuration,
                routerID: 7,
                plane: plane,
                client: workers,
                logger: Self.logger
            )
            let discovery = InMemoryDiscovery(
                store: InMemoryDiscovery.Store(),
                instanceID: InstanceID(rawValue: 1)
            )
            discovery.publish([
                .instance(
                    InstanceRecord(
                        Instance(
                            endpoint: WorkerRouterTests.endpoint,
                            id: InstanceID(rawValue: 1),
                            transport: .tcp("127.0.0.1:1/1/x")
                        )
                    )
                )
            ])
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await discovery.run() }
                group.addTask { try await service.run(discovery) }
                try await service.waitUntilReady()
                try await body(service, workers, loads)
                group.cancelAll()
            }
            subscription.unsubscribe()
            await listener.close()
            await plane.close()
        }
    }

    @Test func `frontends hear what runs on the chosen worker, from the request's beginning to its end`() async throws {
        try await self.withService { service, workers, loads in
            let request = IncomingRequest(
                id: "r",
                endpoint: EndpointID(namespace: "dynamo", component: "router", name: "generate"),
                payload: ByteBuffer(string: #"{"token_ids":[1,2,3,4,5,6,7,8,9]}"#)
            )
            let stream = await service.router.generate(request)
            let answer = try #require(workers.answer("r"))
            answer.yield(.data(ByteBuffer(string: #"{"token_ids":[9]}"#)))
            answer.finish()
            for try await _ in stream {}
            try await eventually("three messages have come") { loads.value.count == 3 }
            let rank = WorkerRank(worker: 1)
            #expect(
                loads.value == [
                    WorkerLoad(worker: rank, activeDecodeBlocks: 2, activePrefillTokens: 9),
                    WorkerLoad(worker: rank, activeDecodeBlocks: 2, activePrefillTokens: 0),
                    WorkerLoad(worker: rank, activeDecodeBlocks: 0, activePrefillTokens: 0),
                ]
            )
        }
    }

    @Test func `discovery lists what a router of Dynamo publishes`() async throws {
        try await self.withService { service, _, _ in
            var texts: [String] = []
            for case .eventChannel(let record) in try await service.announcement() {
                texts.append(String(buffer: record.json.buffer))
            }
            // As a router of 1.2.1 with --router-replica-sync has them.
            let expected = [
                #"{"type":"EventChannel","namespace":"dynamo","component":"","topic":"kv_metrics","instance_id":7,"#
                    + #""transport":{"kind":"Nats","config":{"subject_prefix":"namespace.dynamo"}}}"#,
                #"{"type":"EventChannel","namespace":"dynamo","component":"backend","topic":"active_sequences_events","#
                    + #""instance_id":7,"transport":{"kind":"Nats","config":"#
                    + #"{"subject_prefix":"namespace.dynamo.component.backend"}}}"#,
            ]
            #expect(Array(texts.prefix(2)) == expected)
            #expect(texts.count == 3, "and one more for routers of 1.6")
            #expect(texts.last?.contains(#""name":"generate"}}"#) == true, "\(texts)")
        }
    }
}
