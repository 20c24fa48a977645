import KVEvents
import KVRouter
import Logging
import NIOCore
import RequestPlane
import Synchronization
import TestSupport
import Testing

/// A publisher on the event plane of ZeroMQ, and a router of each release that listens to it.
@Suite struct ZMQEventPlaneTests {
    static let endpoint = EndpointID(namespace: "n", component: "c", name: "generate")
    static let logger = Logger(label: "test")

    /// A router of one release with its query plane.
    private func router(
        _ publisher: KVEventPublisher,
        _ voice: PublisherConfiguration,
        _ requests: InProcessPlane
    ) async throws -> SmallRouter {
        let id = InstanceID(rawValue: voice.worker)
        let address = try await requests.server.register(
            voice.queryEndpoint,
            id: id,
            handler: publisher.queryHandler(voice.form)
        )
        return SmallRouter(
            requests.client,
            form: voice.form,
            worker: WorkerRank(worker: voice.worker),
            at: Instance(endpoint: voice.queryEndpoint, id: id, transport: address)
        )
    }

    @Test func `routers of both releases know what the worker holds, however late they come`() async throws {
        let plane = try ZMQEventPlane(announcing: "127.0.0.1", logger: Self.logger)
        let voices = [
            PublisherConfiguration(form: .release12, endpoint: Self.endpoint, worker: 5),
            PublisherConfiguration(form: .release16, endpoint: Self.endpoint, worker: 5, publisher: 77),
        ]
        var channels: [EventChannel] = []
        for voice in voices {
            channels.append(
                try await plane.channel(.events, voice.form, of: Self.endpoint, publisher: voice.publisher)
            )
        }
        let publisher = KVEventPublisher(voices[0], sink: SeveralFormsSink(channels), logger: Self.logger)
        let requests = InProcessPlane()
        let routers = [
            try await self.router(publisher, voices[0], requests),
            try await self.router(publisher, voices[1], requests),
        ]
        let subscribers = try ZMQThread()
        let refused = Recorded<[String]>([])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await publisher.run() }
            group.addTask { try await requests.server.run() }
            for router in routers { group.addTask { try await router.run() } }
            var work = CacheWork(seed: 5)
            for _ in 0..<100 { publisher.publish(work.step()) }
            try await eventually("all is sent before anybody listens") { publisher.statistics.sent == 100 }
            for (index, channel) in channels.enumerated() {
                guard case .zmq(let place) = channel.address else { Issue.record("no socket"); return }
                #expect(place.hasPrefix("tcp://127.0.0.1:"))
                let options = ZMQSocketOptions(.subscriber(topics: ["kv-events"]), .connect(place))
                _ = try await subscribers.open(options) { event in
                    guard case .message(let frames) = event else { return }
                    do {
                        let envelope = try EventEnvelope(frames: frames)
                        #expect(envelope.publisher == voices[index].publisher)
                        let events = try RouterEvent.read(envelope.payload)
                        routers[index].receive(events)
                    } catch { refused.value.append("\(error)") }
                }
            }
            // Nothing new is published: the newest event, repeated for the new subscriber, shows what is missing.
            let truth = work.blocks
            for router in routers {
                try await eventually("a late router has all blocks") { router.blocks == truth }
            }
            for _ in 0..<500 where publisher.publish(work.step()) == .wait { await publisher.waitForRoom() }
            let later = work.blocks
            for router in routers { try await eventually("live events arrive") { router.blocks == later } }
            #expect(refused.value.isEmpty)
            group.cancelAll()
            while await group.nextResult() != nil {}
        }
        await subscribers.shutdown()
        await plane.close()
    }

    @Test func `loads are sent when they change`() async throws {
        let plane = try ZMQEventPlane(announcing: "127.0.0.1", logger: Self.logger)
        let channel = try await plane.channel(.load, .release12, of: Self.endpoint, publisher: 5)
        let load = LoadPublisher([channel], worker: WorkerRank(worker: 5), logger: Self.logger)
        let subscribers = try ZMQThread()
        let loads = Recorded<[UInt64]>([])
        let connected = Recorded(false)
        guard case .zmq(let place) = channel.address else { Issue.record("no socket"); return }
        _ = try await subscribers.open(ZMQSocketOptions(.subscriber(topics: ["kv_metrics"]), .connect(place))) {
            event in
            switch event {
            case .connected: connected.value = true
            case .message(let frames):
                let payload = try? EventEnvelope(frames: frames).payload
                if let load = payload.flatMap({ try? WorkerLoad($0) }) { loads.value.append(load.usedBlocks ?? 0) }
            default: break
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await load.run() }
            try await eventually("it is connected") { connected.value }
            var number: UInt64 = 1000
            // The subscription reaches the publisher a moment after the connection.
            try await eventually("a load arrives") {
                number += 1
                load.update(usedBlocks: number)
                return !loads.value.isEmpty
            }
            for value: UInt64 in [7, 7, 8] {
                load.update(usedBlocks: value)
                try await eventually("it arrives") { loads.value.last == value }
            }
            #expect(loads.value.suffix(2) == [7, 8])
            group.cancelAll()
        }
        await subscribers.shutdown()
        await plane.close()
    }
}
