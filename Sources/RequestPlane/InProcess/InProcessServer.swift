/// Answers requests that come from the same process.
final class InProcessServer: RequestPlaneServer {
    let mode = RequestPlaneMode.tcp

    private let endpoints = EndpointTable()
    private let gate: DrainGate
    private let events: AsyncStream<Event>
    private let eventSource: AsyncStream<Event>.Continuation

    /// What `run()` reacts to.
    private enum Event {
        case request(InProcessAnswer)
        case deadlinePassed
    }

    init(capacity: Int) {
        self.gate = DrainGate(limit: capacity)
        (self.events, self.eventSource) = AsyncStream.makeStream()
    }

    var inFlight: Int { self.gate.count }

    var statistics: [EndpointStatistics] { self.endpoints.statistics }

    func register(
        _ endpoint: EndpointID,
        id: InstanceID,
        handler: @escaping RequestHandler
    ) async throws(RequestPlaneError) -> TransportAddress {
        let path = try self.endpoints.add(
            ServedEndpoint(id: endpoint, instance: id, handler: handler),
            paths: ["in-process/\(id.hex)/\(endpoint)"]
        )
        return .tcp(path)
    }

    func unregister(_ endpoint: EndpointID) async { self.endpoints.remove(endpoint) }

    /// Accepts a request, to be answered by `run()`.
    ///
    /// - Parameters:
    ///   - request: what was sent.
    ///   - instance: to whom.
    ///   - buffer: takes the answer.
    /// - Throws: `RequestPlaneError` when the request is refused.
    func dispatch(_ request: OutgoingRequest, to instance: Instance, _ buffer: ResponseBuffer) throws(RequestPlaneError)
    {
        guard let endpoint = self.endpoints[instance.transport.value] else {
            throw RequestPlaneError(.unknownEndpoint, "nothing in this process serves \(instance.transport.value)")
        }
        switch self.gate.enter() {
        case .admitted: break
        case .full: throw RequestPlaneError(.overloaded, "\(endpoint.id) is at capacity")
        case .closed: throw RequestPlaneError(.unavailable, "\(endpoint.id) is shutting down")
        }
        let incoming = IncomingRequest(
            id: request.id,
            endpoint: endpoint.id,
            headers: request.headers,
            payload: request.payload
        )
        let answer = InProcessAnswer(request: incoming, endpoint: endpoint, buffer: buffer)
        if case .terminated = self.eventSource.yield(.request(answer)) {
            self.gate.leave()
            throw RequestPlaneError(.unavailable, "\(endpoint.id) is not served any more")
        }
    }

    func run() async throws {
        await withDiscardingTaskGroup { group in
            for await event in self.events {
                switch event {
                case .request(let answer):
                    group.addTask {
                        await answer.run()
                        self.gate.leave()
                    }
                case .deadlinePassed: group.cancelAll()
                }
            }
            if Task.isCancelled { group.cancelAll() }
        }
        self.gate.close()
        self.eventSource.finish()
    }

    func drain(deadline: Duration) async {
        self.gate.close()
        if await !self.gate.waitUntilEmpty(atMost: deadline) { self.eventSource.yield(.deadlinePassed) }
        self.eventSource.finish()
    }
}
