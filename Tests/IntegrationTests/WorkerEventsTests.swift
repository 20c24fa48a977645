import Discovery
import Foundation
import Logging
import RequestPlane
import TestSupport
import Testing

/// What our worker registers and refuses about KV events, without a frontend.
@Suite(.serialized) struct WorkerEventsTests {
    static let program = TestEnvironment.products.appending(path: "dynamo-worker").path

    private func environment(_ directory: URL, _ more: [String: String?]) -> [String: String?] {
        [
            "DYN_DISCOVERY_BACKEND": "file", "DYN_FILE_KV": directory.appending(path: "kv").path,
            "DYN_REQUEST_PLANE": "tcp", "DYN_NAMESPACE": nil, "DYN_SYSTEM_PORT": nil, "NATS_SERVER": nil,
            "DYN_TCP_RPC_HOST": "127.0.0.1", "XDG_STATE_HOME": directory.path, "DYN_DURABLE_KV_EVENTS": nil,
        ].merging(more) { _, new in new }
    }

    /// Runs a worker until discovery has what is expected of it.
    private func withWorker(
        _ arguments: [String] = [],
        _ more: [String: String?],
        _ body: (DiscoverySnapshot) throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let discovery = FileDiscovery(
                directory: directory.appending(path: "kv").path,
                logger: Logger(label: "test")
            )
            let (_, exit) = try await withProgram(
                Self.program,
                ["--engine", "mock"] + arguments,
                environment: self.environment(directory, more)
            ) { worker in
                // The card is written last.
                try await eventually("the model is registered; output:\n\(worker.output)") {
                    try await !discovery.snapshot(.all).models.isEmpty
                }
                try body(try await discovery.snapshot(.all))
                worker.send(SIGTERM)
                try await worker.waitForExit()
                #expect(try await discovery.snapshot(.all) == DiscoverySnapshot(), "records stay behind")
            }
            #expect(exit == .code(0))
        }
    }

    private func hasLocalIndexer(_ snapshot: DiscoverySnapshot) -> Bool? {
        snapshot.models.first?.card.fields["runtime_config"]?["enable_local_indexer"]?.bool
    }

    @Test func `channels, source and query endpoints of both releases stand in discovery`() async throws {
        try await self.withWorker(["--component", "c"], ["DYN_EVENT_PLANE": "zmq", "DYN_EVENT_PLANE_HOST": "lo"]) {
            snapshot in
            let worker = try #require(snapshot.models.first).id
            let endpoint = EndpointID(namespace: "dynamo", component: "c", name: "generate")
            let source = try #require(snapshot.eventSources.first)
            #expect(snapshot.eventSources.count == 1)
            #expect(source.worker == worker && source.endpoint == endpoint && source.topic == "kv-events")
            #expect(source.publisher != worker && source.publisher.rawValue < 1 << 53)
            let query = snapshot.instances.first {
                $0.instance.endpoint.name == "worker_kv_query_source_\(source.publisher.hex)"
            }
            #expect(query != nil && source.recovery == query)
            #expect(snapshot.instances.contains { $0.instance.endpoint.name == "worker_kv_indexer_query_dp0" })
            let component = EventScope.component(namespace: "dynamo", component: "c")
            let expected: [(EventScope, String, Bool)] = [
                (component, "kv-events", true), (.namespace("dynamo"), "kv_metrics", true),
                (.endpoint(endpoint), "kv-events", false), (.endpoint(endpoint), "kv_metrics", false),
            ]
            #expect(snapshot.eventChannels.count == expected.count)
            var places: Set<String> = []
            for (scope, topic, isOld) in expected {
                let channel = try #require(
                    snapshot.eventChannels.first { $0.scope == scope && $0.topic == topic },
                    "\(scope) \(topic)"
                )
                // 1.2 knows the worker; on 1.6 every publisher has an id of its own.
                #expect((channel.publisher == worker) == isOld)
                #expect((channel.publisher == source.publisher) == (!isOld && topic == "kv-events"))
                guard case .zmq(let place) = channel.transport else { Issue.record("\(channel)"); continue }
                #expect(place.hasPrefix("tcp://127.0.0.1:"))
                places.insert(place)
            }
            #expect(places.count == 4, "each has a socket of its own")
            #expect(self.hasLocalIndexer(snapshot) == true)
        }
    }

    @Test func `one form registers what its release knows and nothing else`() async throws {
        try await self.withWorker(
            ["--event-form", "1.2"],
            ["DYN_EVENT_PLANE": "zmq", "DYN_EVENT_PLANE_HOST": "127.0.0.1"]
        ) { snapshot in
            #expect(snapshot.eventSources.isEmpty)
            #expect(snapshot.eventChannels.count == 2)
            #expect(snapshot.instances.count == 2)
        }
        try await self.withWorker(
            ["--event-form", "1.6"],
            ["DYN_EVENT_PLANE": "zmq", "DYN_EVENT_PLANE_HOST": "127.0.0.1"]
        ) { snapshot in
            #expect(snapshot.eventSources.count == 1)
            #expect(snapshot.eventChannels.count == 2)
            #expect(snapshot.instances.count == 2)
        }
    }

    @Test(arguments: [["--durable-kv-events"], []])
    func `a durable worker has no index, no query endpoint and no channel of events`(arguments: [String]) async throws {
        try await withTemporaryDirectory { folder in
            try await NATSServerFixture.run(configuration: NATSServerFixture.jetStream(in: folder)) { server in
                var environment: [String: String?] = ["DYN_EVENT_PLANE": "nats", "NATS_SERVER": server.url]
                if arguments.isEmpty { environment["DYN_DURABLE_KV_EVENTS"] = "true" }
                try await self.withWorker(arguments, environment) { snapshot in
                    #expect(self.hasLocalIndexer(snapshot) == false)
                    #expect(snapshot.instances.count == 1)
                    #expect(snapshot.eventSources.isEmpty)
                    #expect(snapshot.eventChannels.map(\.topic) == ["kv_metrics"])
                    let transport = snapshot.eventChannels.first?.transport
                    #expect(transport == .nats(subjectPrefix: "namespace.dynamo"))
                }
            }
        }
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        var arguments: [String] = []
        var environment: [String: String] = [:]
        var text: String
        var testDescription: String { self.text }
    }

    static let refusals = [
        Refusal(
            arguments: ["--durable-kv-events"],
            environment: ["DYN_EVENT_PLANE": "zmq"],
            text: "durable KV events need NATS, and DYN_EVENT_PLANE is 'zmq'; set DYN_EVENT_PLANE=nats"
        ),
        Refusal(environment: ["DYN_DURABLE_KV_EVENTS": "true"], text: "DYN_EVENT_PLANE is not set"),
        Refusal(environment: ["DYN_DURABLE_KV_EVENTS": "yes"], text: "it must be one of true, false"),
        Refusal(
            arguments: ["--durable-kv-events", "--event-form", "1.6"],
            text: "--durable-kv-events goes with --event-form 1.2 only"
        ),
        Refusal(arguments: ["--event-form", "1.3"], text: "'1.3' is none of the forms 1.2, 1.6, both"),
        Refusal(
            environment: ["DYN_EVENT_PLANE": "zmq", "DYN_ZMQ_BROKER_URL": "xsub=tcp://h:1"],
            text: "DYN_ZMQ_BROKER_URL is set, but this worker has no broker"
        ),
        Refusal(
            environment: ["DYN_EVENT_PLANE": "zmq", "DYN_EVENT_PLANE_HOST": "0.0.0.0"],
            text: "no address that others can connect to"
        ),
        Refusal(
            environment: ["DYN_EVENT_PLANE": "zmq", "DYN_EVENT_PLANE_HOST": "nosuch0"],
            text: "'nosuch0' in DYN_EVENT_PLANE_HOST has no address"
        ),
        Refusal(environment: ["DYN_EVENT_PLANE": "kafka"], text: "it must be one of nats, zmq, none"),
    ]

    @Test(arguments: refusals)
    func `what cannot work is an error that says what to do`(_ refusal: Refusal) async throws {
        try await withTemporaryDirectory { directory in
            let environment = self.environment(directory, refusal.environment.mapValues { $0 })
            let (output, exit) = try await withProgram(
                Self.program,
                ["--engine", "mock"] + refusal.arguments,
                environment: environment
            ) { worker in
                try await worker.waitForExit()
                return worker.output
            }
            #expect(exit != .code(0))
            #expect(output.contains(refusal.text), "\(output)")
        }
    }

    @Test func `a NATS server without JetStream ends a durable worker with advice`() async throws {
        try await withTemporaryDirectory { directory in
            try await NATSServerFixture.run { server in
                let (output, exit) = try await withProgram(
                    Self.program,
                    ["--engine", "mock", "--durable-kv-events"],
                    environment: self.environment(
                        directory,
                        ["DYN_EVENT_PLANE": "nats", "NATS_SERVER": server.url]
                    )
                ) { worker in
                    try await worker.waitForExit()
                    return worker.output
                }
                #expect(exit != .code(0))
                #expect(output.contains("start nats-server with -js"), "\(output)")
            }
        }
    }
}
