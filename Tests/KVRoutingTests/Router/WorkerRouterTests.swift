import Discovery
import KVEvents
import KVRouter
import KVRouting
import Logging
import NATS
import NIOCore
import RequestPlane
import Synchronization
import TestSupport
import Testing

/// The running router, its workers played by the test.
@Suite struct WorkerRouterTests {
    static let endpoint = EndpointID(namespace: "dynamo", component: "backend", name: "generate")

    /// Workers whose answers a test writes.
    final class Workers: RequestPlaneClient {
        private let answers: Mutex<[String: AsyncThrowingStream<ResponseItem, any Error>.Continuation]> = Mutex([:])
        private let refusing: Mutex<Set<InstanceID>> = Mutex([])
        let sent = Recorded<[UInt64]>([])

        private let refusal: Mutex<@Sendable () -> Void> = Mutex({})

        func refuse(_ worker: UInt64) { self.refusing.withLock { _ = $0.insert(InstanceID(rawValue: worker)) } }

        /// Is called whenever a request was not taken, before that is said.
        func onRefusal(_ body: @escaping @Sendable () -> Void) { self.refusal.withLock { $0 = body } }

        func answer(_ id: String) -> AsyncThrowingStream<ResponseItem, any Error>.Continuation? {
            self.answers.withLock { $0[id] }
        }

        func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
            if self.refusing.withLock({ $0.contains(instance.id) }) {
                self.refusal.withLock { $0 }()
                throw RequestPlaneError(.connectFailed, "nobody is there")
            }
            self.sent.value.append(instance.id.rawValue)
            let (stream, answer) = AsyncThrowingStream<ResponseItem, any Error>.makeStream()
            self.answers.withLock { $0[request.id] = answer }
            return ResponseStream(stream)
        }
    }

    private func router(
        _ workers: Workers,
        id: UInt64 = 7,
        of ids: ClosedRange<UInt64> = 1...2,
        tell: @escaping @Sendable (ActiveSequenceEvent) -> Void = { _ in }
    ) -> WorkerRouter {
        var configuration = RouterConfiguration()
        configuration.mode = .kv
        configuration.usesKVEvents = false
        configuration.syncsReplicas = true
        let router = WorkerRouter(
            of: Self.endpoint,
            blockSize: 4,
            configuration: configuration,
            routerID: id,
            client: workers,
            overlaps: nil,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            tell: tell
        )
        router.follow(Self.snapshot(ids))
        return router
    }

    private static func snapshot(_ ids: ClosedRange<UInt64>) -> DiscoverySnapshot {
        DiscoverySnapshot(
            instances: ids.map { worker in
                let id = InstanceID(rawValue: worker)
                return InstanceRecord(
                    Instance(endpoint: Self.endpoint, id: id, transport: .tcp("127.0.0.1:1/\(worker)/x"))
                )
            }
        )
    }

    private func request(_ id: String) -> IncomingRequest {
        IncomingRequest(
            id: id,
            endpoint: EndpointID(namespace: "dynamo", component: "router", name: "generate"),
            payload: ByteBuffer(string: #"{"token_ids":[1,2,3,4,5,6,7,8]}"#)
        )
    }

    private func texts(_ stream: any AsyncSequence<ResponseItem, any Error> & Sendable) async throws -> [String] {
        var texts: [String] = []
        for try await item in stream {
            switch item {
            case .data(let data), .bare(let data): texts.append(String(buffer: data))
            case .failure(let error): texts.append("\(error)")
            case .annotation(let event, _): texts.append(event)
            }
        }
        return texts
    }

    @Test func `a request counts until its answer has ended, failed or been dropped`() async throws {
        let workers = Workers()
        let router = self.router(workers)
        for end in ["finish", "fail", "drop"] {
            do {
                let stream = await router.generate(self.request(end))
                #expect(router.counts.running == 1)
                let answer = try #require(workers.answer(end))
                answer.yield(.data(ByteBuffer(string: #"{"token_ids":[9]}"#)))
                switch end {
                case "finish":
                    answer.finish()
                    let worker = workers.sent.value.last ?? 0
                    let first = try await self.texts(stream).first ?? ""
                    #expect(first.hasPrefix(#"{"token_ids":[9],"tokens":null,"#))
                    #expect(first.contains(#""decode_worker_id":\#(worker),"decode_dp_rank":0"#), "\(first)")
                case "fail":
                    answer.finish(throwing: RequestPlaneError(.streamEndedEarly, "the worker is lost"))
                    await #expect(throws: RequestPlaneError.self) { try await self.texts(stream) }
                default: for try await _ in stream { break }
                }
            }
            try await eventually("its place is free again") { router.counts.counted == 0 }
            #expect(router.counts.running == 0)
        }
    }

    @Test func `what a worker does not take goes to another, and what nobody can do is said`() async throws {
        let workers = Workers()
        let router = self.router(workers)
        workers.refuse(1)
        for number in 0..<8 {
            let stream = await router.generate(self.request("r\(number)"))
            workers.answer("r\(number)")?.finish()
            #expect(try await self.texts(stream).isEmpty)
        }
        #expect(Set(workers.sent.value) == [2])
        workers.refuse(2)
        let refused = try await self.texts(await router.generate(self.request("nobody")))
        #expect(refused.first?.contains("did not take the request") == true, "\(refused)")
        router.follow(DiscoverySnapshot())
        let none = try await self.texts(await router.generate(self.request("none")))
        #expect(none == ["Unavailable: no worker serves dynamo.backend.generate"])
        #expect(router.counts.counted == 0)
    }

    @Test func `of workers that were killed one after the other none costs a request its answer`() async throws {
        let workers = Workers()
        let router = self.router(workers, of: 1...4)
        for worker in UInt64(1)...3 { workers.refuse(worker) }
        for number in 0..<4 {
            let stream = await router.generate(self.request("r\(number)"))
            workers.answer("r\(number)")?.finish()
            #expect(try await self.texts(stream).isEmpty)
        }
        #expect(workers.sent.value == [4, 4, 4, 4])
        #expect(router.counts.counted == 0)
    }

    @Test func `a worker that leaves while a request is on its way to it does not take another's place`() async throws {
        let workers = Workers()
        let router = self.router(workers)
        // Which one is asked is the router's affair.
        let first = await router.generate(self.request("first"))
        workers.answer("first")?.finish()
        #expect(try await self.texts(first).isEmpty)
        let asked = try #require(workers.sent.value.first)
        let other = 3 - asked
        let left = Recorded(0)
        workers.refuse(asked)
        workers.onRefusal {
            left.value += 1
            router.follow(Self.snapshot(other...other))
        }
        var requests = 0
        while left.value == 0, requests < 200 {
            requests += 1
            router.follow(Self.snapshot(1...2))
            let stream = await router.generate(self.request("r\(requests)"))
            workers.answer("r\(requests)")?.finish()
            #expect(try await self.texts(stream).isEmpty)
        }
        #expect(left.value == 1, "it was asked")
        #expect(workers.sent.value == [asked] + Array(repeating: other, count: requests))
    }

    @Test func `routers tell each other over NATS what runs where`() async throws {
        try await NATSServerFixture.run { server in
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let configuration = NATSConfiguration(servers: [NATSServerAddress(host: "127.0.0.1", port: server.port)])
            let workers = Workers()
            let planes = [
                try await NATSEventPlane.connect(configuration, logger: logger),
                try await NATSEventPlane.connect(configuration, logger: logger),
            ]
            let channels = planes.enumerated().map { number, plane in
                plane.activeSequences(.release12, of: Self.endpoint, publisher: UInt64(100 + number))
            }
            let routers = channels.enumerated().map { number, channel in
                self.router(workers, id: UInt64(100 + number)) { channel.publish($0) }
            }
            let ready = [Recorded(false), Recorded(false)]
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (number, (channel, router)) in zip(channels, routers).enumerated() {
                    group.addTask {
                        try await channel.run(ready: { ready[number].value = true }, consumer: router.apply)
                    }
                }
                try await eventually("both listen") { ready.allSatisfy(\.value) }
                let stream = await routers[0].generate(self.request("r"))
                try await eventually("the other knows") { routers[1].counts.counted == 1 }
                #expect(routers[1].counts.running == 0)
                let holder = workers.sent.value[0]
                // The other would choose whom the first has not given anything.
                let best = try await self.texts(
                    routers[1].bestWorker(
                        IncomingRequest(
                            id: "b",
                            endpoint: Self.endpoint,
                            payload: ByteBuffer(string: "[9,9,9,9]")
                        )
                    )
                )
                #expect(best == ["\(3 - holder)"])
                workers.answer("r")?.finish()
                _ = try await self.texts(stream)
                try await eventually("the other knows that it is over") { routers[1].counts.counted == 0 }
                #expect(routers[0].counts.counted == 0)
                group.cancelAll()
                while await group.nextResult() != nil {}
            }
            for plane in planes { await plane.close() }
        }
    }

    @Test(arguments: [
        (#"{"overlap_score_credit":2}"#, "`router_config_override.overlap_score_credit` must be a number from 0 to 1"),
        (#"{"router_temperature":-1}"#, "`router_config_override.router_temperature` must be a number of 0 or more"),
        (#"{"prefill_load_scale":"2"}"#, "`router_config_override.prefill_load_scale` must be a number of 0 or more"),
        (#"{"assume_kv_reuse":1}"#, "`router_config_override.assume_kv_reuse` must be true or false, not a number"),
        (#"{"router_temprature":1}"#, "`router_config_override` has no setting `router_temprature`"),
        (#"[1]"#, "`router_config_override` must be an object, not an array"),
    ])
    func `a request's settings that nobody can follow are refused`(_ given: (String, String)) throws {
        let payload = ByteBuffer(string: #"{"token_ids":[1],"router_config_override":\#(given.0)}"#)
        let error = try #require(throws: RemoteError.self) { try RoutedRequest(parsing: payload) }
        #expect(error.message.hasPrefix(given.1), "\(error.message)")
    }

    @Test func `a request's settings are read, the old name too, and go on to the worker`() throws {
        func read(_ override: String) throws -> RoutedRequest {
            try RoutedRequest(
                parsing: ByteBuffer(string: #"{"token_ids":[1],"router_config_override":\#(override)}"#)
            )
        }
        var expected = RouterOverride()
        expected.overlapCredit = 0.5
        expected.prefillLoadScale = 3
        expected.temperature = 0.25
        expected.assumesKVReuse = false
        expected.tracksPrefillTokens = true
        let text = """
            {"overlap_score_credit":0.5,"prefill_load_scale":3,"router_temperature":0.25,"assume_kv_reuse":false,\
            "track_prefill_tokens":true,"shared_cache_multiplier":null}
            """
        let request = try read(text)
        #expect(request.override == expected)
        let payload = String(buffer: request.payload(for: WorkerRank(worker: 1)))
        #expect(payload.contains(#""router_config_override":\#(text)"#), "\(payload)")
        #expect(try read("null").override == nil)
        let old = try read(#"{"overlap_score_weight":0}"#).override
        #expect(old?.prefillLoadScale == 0)
        #expect(old?.overlapCredit == 0)
        #expect(try read(#"{"overlap_score_weight":2}"#).override?.overlapCredit == nil)
    }
}
