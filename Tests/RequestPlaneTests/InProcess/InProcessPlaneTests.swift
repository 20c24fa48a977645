import NIOCore
import RequestPlane
import Synchronization
import TestSupport
import Testing

@Suite struct InProcessPlaneTests {
    private let endpoint = EndpointID(namespace: "test", component: "echo", name: "run")

    private func withPlane(
        capacity: Int = .max,
        _ body: (InProcessPlane) async throws -> Void
    ) async throws {
        let plane = InProcessPlane(capacity: capacity)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await plane.server.run() }
            try await body(plane)
            group.cancelAll()
        }
    }

    private func serve(_ plane: InProcessPlane, _ handler: @escaping RequestHandler) async throws -> Instance {
        let id = InstanceID(rawValue: 7)
        let address = try await plane.server.register(self.endpoint, id: id, handler: handler)
        return Instance(endpoint: self.endpoint, id: id, transport: address)
    }

    private func send(_ plane: InProcessPlane, _ instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
        try await plane.client.send(OutgoingRequest(id: "r", payload: ByteBuffer(string: "{}")), to: instance)
    }

    @Test func echoAndStatistics() async throws {
        try await self.withPlane { plane in
            let instance = try await self.serve(plane) { request in
                AsyncThrowingStream { continuation in
                    for _ in 0..<3 { continuation.yield(.data(request.payload)) }
                    continuation.finish()
                }
            }
            var count = 0
            for try await item in try await self.send(plane, instance) {
                #expect(item == .data(ByteBuffer(string: "{}")))
                count += 1
            }
            #expect(count == 3)
            try await eventually("the request is counted") { plane.statistics.first?.inFlight == 0 }
            let statistics = try #require(plane.statistics.first)
            #expect(statistics.requests == 1 && statistics.items == 3 && statistics.errors == 0)
            #expect(statistics.requestBytes == 2 && statistics.responseBytes == 6)
            #expect(statistics.durationBuckets.last == 1)
        }
    }

    @Test func slowReaderHoldsTheHandler() async throws {
        let produced = Atomic(0)
        try await self.withPlane { plane in
            let instance = try await self.serve(plane) { _ in
                AsyncThrowingStream {
                    produced.add(1, ordering: .relaxed)
                    return .data(ByteBuffer(repeating: 0x31, count: 512))
                }
            }
            let stream = try await self.send(plane, instance)
            try await eventually("the handler has filled the buffer") { produced.load(ordering: .relaxed) >= 8 }
            var iterator = stream.makeAsyncIterator()
            for _ in 0..<100 { _ = try await iterator.next() }
            #expect(produced.load(ordering: .relaxed) < 120)
        }
        #expect(produced.load(ordering: .relaxed) < 130)
    }

    @Test func droppedStreamCancelsTheHandler() async throws {
        try await self.withPlane { plane in
            let instance = try await self.serve(plane) { _ in Forever() }
            do {
                let stream = try await self.send(plane, instance)
                for try await _ in stream { break }
            }
            try await eventually("the handler is cancelled") { plane.server.inFlight == 0 }
            #expect(plane.statistics.first?.cancellations == 1)
        }
    }

    @Test func stopEndsNormally() async throws {
        try await self.withPlane { plane in
            let instance = try await self.serve(plane) { _ in Forever() }
            let stream = try await self.send(plane, instance)
            var count = 0
            for try await _ in stream {
                count += 1
                if count == 1 { stream.stop() }
            }
            #expect(count >= 1)
        }
    }

    @Test func refusalsAndFailures() async throws {
        try await self.withPlane { plane in
            let instance = try await self.serve(plane) { _ in throw RemoteError(kind: .invalidArgument, message: "no") }
            let refusal = await #expect(throws: RequestPlaneError.self) { try await self.send(plane, instance) }
            #expect(refusal?.code == .remote)
            var unknown = instance
            unknown.transport = .tcp("in-process/8/x")
            let error = await #expect(throws: RequestPlaneError.self) { try await self.send(plane, unknown) }
            #expect(error?.code == .unknownEndpoint)
        }
    }

    @Test func drain() async throws {
        let plane = InProcessPlane()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await plane.server.run() }
            let instance = try await self.serve(plane) { _ in Forever() }
            let stream = try await self.send(plane, instance)
            await plane.server.drain(deadline: .milliseconds(50))
            try await group.waitForAll()
            let error = await #expect(throws: RequestPlaneError.self) { for try await _ in stream {} }
            #expect(error?.code == .streamEndedEarly)
            let refusal = await #expect(throws: RequestPlaneError.self) { try await self.send(plane, instance) }
            #expect(refusal?.code == .unavailable)
        }
    }
}

/// Yields one item every few milliseconds until cancelled.
private struct Forever: AsyncSequence, Sendable {
    struct AsyncIterator: AsyncIteratorProtocol {
        func next() async throws -> ResponseItem? {
            try await Task.sleep(for: .milliseconds(2))
            return .data(ByteBuffer(string: "1"))
        }
    }
    func makeAsyncIterator() -> AsyncIterator { AsyncIterator() }
}
