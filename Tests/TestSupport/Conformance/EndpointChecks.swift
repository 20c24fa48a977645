import NIOCore
import RequestPlane

// Which endpoint answers, and when it stops to.

extension ConformanceCheck {
    static var endpoints: [ConformanceCheck] {
        [
            ConformanceCheck("an endpoint that nobody serves is unknown") { pair in
                let instance = try await pair.serve(answering { _ in [.number(1)] })
                var wrong = instance
                wrong.transport = instance.transport.with(suffix: "x")
                try await requireError(.unknownEndpoint, from: "a call of an unknown endpoint") {
                    _ = try await pair.call(to: wrong)
                }
                try requireEqual(try await pair.call(to: instance), [.number(1)], "items of the next request")
            },
            ConformanceCheck("unregistering stops new requests and leaves running ones", with: self.unregister),
            ConformanceCheck("an endpoint is served once") { pair in
                let instance = try await pair.serve(answering { _ in [.number(1)] })
                try await requireError(.invalidConfiguration, from: "a second registration") {
                    _ = try await pair.serve(answering { _ in [.number(2)] })
                }
                try requireEqual(try await pair.call(to: instance), [.number(1)], "items")
            },
            ConformanceCheck("endpoints of one name in two components are two") { pair in
                let one = try await pair.serve("generate", component: "backend", answering { _ in [.number(1)] })
                let two = try await pair.serve("generate", component: "prefill", answering { _ in [.number(2)] })
                let three = try await pair.serve("clear", component: "backend", answering { _ in [.number(3)] })
                try requireEqual(try await pair.call(to: one), [.number(1)], "items of backend.generate")
                try requireEqual(try await pair.call(to: two), [.number(2)], "items of prefill.generate")
                try requireEqual(try await pair.call(to: three), [.number(3)], "items of backend.clear")
            },
            ConformanceCheck("more requests than the capacity are refused as overload", .init(capacity: 2)) { pair in
                let held = HeldHandler(items: 1)
                let instance = try await pair.serve(held.handler)
                let streams = [try await pair.send(to: instance, id: "1"), try await pair.send(to: instance, id: "2")]
                try await requireError(.overloaded, from: "a call beyond the capacity") {
                    _ = try await pair.send(to: instance, id: "3")
                }
                held.end.open()
                for stream in streams { try requireEqual(try await stream.all(), [.number(0)], "items") }
                try await pair.serverIsIdle()
                try requireEqual(try await pair.call(to: instance), [.number(0)], "items once there is a place")
            },
            ConformanceCheck("a drain finishes what runs and refuses what is new", with: self.drain),
            ConformanceCheck("statistics add up", with: self.statistics),
        ]
    }

    @Sendable private static func unregister(_ pair: ConformancePair) async throws {
        let held = HeldHandler(items: 2)
        let instance = try await pair.serve(held.handler)
        let stream = try await pair.send(to: instance)
        await pair.server.unregister(instance.endpoint)
        try await requireError(.unknownEndpoint, .connectFailed, from: "a call of an unregistered endpoint") {
            _ = try await pair.call(to: instance)
        }
        held.end.open()
        try requireEqual(try await stream.all(), [.number(0), .number(1)], "items of the running request")
        let again = try await pair.serve(answering { _ in [.number(7)] })
        try requireEqual(try await pair.call(to: again), [.number(7)], "items after it was registered again")
    }

    @Sendable private static func drain(_ pair: ConformancePair) async throws {
        let held = HeldHandler(items: 2)
        let instance = try await pair.serve(held.handler)
        let stream = try await pair.send(to: instance)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await pair.drainServer(deadline: .seconds(30)) }
            // Refused from some moment on; what came in before is finished.
            var refused = false
            try await eventually("a new request is refused") {
                do throws(RequestPlaneError) {
                    let early = try await pair.send(to: instance)
                    withExtendedLifetime(early) {}
                } catch {
                    refused = [RequestPlaneError.Code.unavailable, .unknownEndpoint, .connectFailed].contains(
                        error.code
                    )
                    try require(refused, "a draining server answers with \(error)")
                }
                return refused
            }
            held.end.open()
            try requireEqual(try await stream.all(), [.number(0), .number(1)], "items of the running request")
            try await group.waitForAll()
        }
        try await pair.serverHasEnded()
        try requireEqual(pair.server.inFlight, 0, "requests in flight after the drain")
    }

    @Sendable private static func statistics(_ pair: ConformancePair) async throws {
        let held = HeldHandler(items: 1)
        let mixed = try await pair.serve { request in
            switch String(buffer: request.payload) {
            case "\"refuse\"": throw RemoteError(kind: .invalidArgument, message: "no")
            case "\"fail\"": return Script { if $0 == 0 { .number(1) } else { throw CancellationError() } }
            case "\"hold\"": return try await held.handler(request)
            default: return Script { $0 < 3 ? .text("\"abc\"") : nil }
            }
        }
        for number in 0..<4 { _ = try await pair.call(to: mixed, id: "ok-\(number)") }
        try await requireError(.remote, from: "a refused request") { _ = try await pair.call("\"refuse\"", to: mixed) }
        _ = try await pair.call("\"fail\"", to: mixed)
        let stream = try await pair.send("\"hold\"", to: mixed, id: "held")
        try await eventually("the running request is seen") { pair.statistics.first?.inFlight == 1 }
        try requireEqual(pair.server.inFlight, 1, "requests in flight")
        for try await _ in stream { break }
        held.end.open()
        try await pair.serverIsIdle()

        try requireEqual(pair.statistics.count, 1, "endpoints that are counted")
        guard let counted = pair.statistics.first else { return }
        try requireEqual(counted.endpoint, mixed.endpoint, "endpoint")
        try requireEqual(counted.instance, mixed.id, "instance")
        try requireEqual(counted.requests, 7, "requests")
        try requireEqual(counted.requestBytes, 4 * 2 + 8 + 6 + 6, "request bytes")
        try requireEqual(counted.errors, 2, "errors")
        try requireEqual(counted.durationBuckets.last, counted.requests, "requests that have ended")
        try require(counted.cancellations <= 1, "more cancellations than cancelled requests")
        try requireEqual(counted.items, 4 * 3 + 1 + 1, "items")
        try requireEqual(counted.responseBytes, 4 * 3 * 5 + 1 + 1, "response bytes")
    }
}

extension TransportAddress {
    /// The same address, of an endpoint whose name is longer.
    fileprivate func with(suffix: String) -> TransportAddress {
        switch self {
        case .tcp(let text): .tcp(text + suffix)
        case .http(let text): .http(text + suffix)
        case .nats(let text): .nats(text + suffix)
        }
    }
}
