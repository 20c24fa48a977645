import NIOCore
import RequestPlane
import RequestPlaneTransports

/// Drives the worker on the request plane.
struct PlaneLoad: Sendable {
    private let client: any RequestPlaneClient
    private let worker: Instance
    /// Where this process takes requests itself.
    private let ownAddress: String
    private let sources: AsyncStream<EchoSource>.Continuation

    init(_ network: NetworkManager, worker: String) async throws {
        let (sources, continuation) = AsyncStream.makeStream(of: EchoSource.self)
        self.client = network.client
        self.worker = Instance(endpoint: .benchmark, id: .worker, transport: .tcp(worker))
        self.sources = continuation
        self.ownAddress = try await network.server.register(.benchmark, id: .caller) { _ in
            for await source in sources { return source }
            throw RemoteError(kind: .unavailable, message: "nothing is measured")
        }.value
    }

    private func send(_ text: String, id: String) async throws -> ResponseStream {
        try await self.client.send(OutgoingRequest(id: id, payload: ByteBuffer(string: text)), to: self.worker)
    }

    /// Reads a stream whose items come as fast as they are taken.
    ///
    /// - Returns: how long that took, from the first item on.
    func flow(count: Int, itemSize: Int) async throws -> Duration {
        var start: ContinuousClock.Instant?
        for try await _ in try await self.send("flow \(count) \(itemSize)", id: "flow") {
            if start == nil { start = .now }
        }
        return (start ?? .now).duration(to: .now)
    }

    /// Sends items on a response stream of this process's own; the worker sends each back on one of its own.
    ///
    /// - Returns: how long that took.
    func echo(count: Int, itemSize: Int, inFlight: Int) async throws -> Duration {
        let (answers, answer) = AsyncStream.makeStream(of: ResponseStream.self)
        let (results, result) = AsyncStream.makeStream(of: Duration.self)
        self.sources.yield(
            EchoSource(
                answers: answers,
                result: result,
                count: count,
                inFlight: inFlight,
                item: .benchmark(size: itemSize)
            )
        )
        answer.yield(try await self.send("echo \(self.ownAddress)", id: "echo"))
        for await duration in results { return duration }
        throw RequestPlaneError(.streamEndedEarly, "the echo ended early")
    }

    /// Sends requests for an endpoint that nobody serves: one frame there, and one back with the refusal.
    ///
    /// - Returns: how long that took.
    func refusals(_ count: Int, inFlight: Int) async throws -> Duration {
        let unknown = TransportAddress.tcp(self.worker.transport.value + "-of-nobody")
        let instance = Instance(endpoint: .benchmark, id: .worker, transport: unknown)
        let start = ContinuousClock.now
        await withTaskGroup(of: Void.self) { group in
            for lane in 0..<inFlight {
                group.addTask {
                    for number in 0..<(count / inFlight) {
                        let request = OutgoingRequest(id: "\(lane)-\(number)", payload: ByteBuffer(string: "{}"))
                        do { _ = try await self.client.send(request, to: instance) } catch {}
                    }
                }
            }
        }
        return start.duration(to: .now)
    }

    /// Opens streams that deliver one item and then nothing.
    func open(_ count: Int) async throws -> [ResponseStream.AsyncIterator] {
        var streams: [ResponseStream.AsyncIterator] = []
        for number in 0..<count {
            var stream = try await self.send("idle", id: "idle-\(number)").makeAsyncIterator()
            _ = try await stream.next()
            streams.append(stream)
        }
        return streams
    }
}

/// Items for the worker, one more for each that has come back.
struct EchoSource: AsyncSequence, Sendable {
    typealias Element = ResponseItem
    typealias Failure = any Error

    let answers: AsyncStream<ResponseStream>
    let result: AsyncStream<Duration>.Continuation
    let count: Int
    let inFlight: Int
    let item: ResponseItem

    struct Iterator: AsyncIteratorProtocol {
        typealias Failure = any Error
        let source: EchoSource
        var answer: ResponseStream.AsyncIterator?
        var start: ContinuousClock.Instant?
        var sent = 0
        var received = 0

        mutating func next() async throws -> ResponseItem? {
            if self.answer == nil {
                for await answer in self.source.answers {
                    self.answer = answer.makeAsyncIterator()
                    self.start = .now
                    break
                }
            }
            while self.received < self.source.count {
                if self.sent < Swift.min(self.source.count, self.received + self.source.inFlight) {
                    self.sent += 1
                    return self.source.item
                }
                _ = try await self.answer?.next()
                self.received += 1
            }
            self.source.result.yield((self.start ?? .now).duration(to: .now))
            self.source.result.finish()
            return nil
        }
    }

    func makeAsyncIterator() -> Iterator { Iterator(source: self) }
}
