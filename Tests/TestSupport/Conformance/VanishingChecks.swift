import NIOCore
import RequestPlane

// A peer that goes without a word, in every state of the request, and requests that are too large for the wire.

extension ConformanceCheck {
    static var vanishing: [ConformanceCheck] {
        [
            ConformanceCheck("the server vanishes before the request", .init(timeout: .milliseconds(500))) { pair in
                let instance = try await pair.serve(answering { _ in [.number(1)] })
                _ = try await pair.call(to: instance)
                try await pair.vanishServer()
                try await requireError(
                    .connectFailed,
                    .unavailable,
                    .unknownEndpoint,
                    from: "a call of a server that is gone"
                ) { _ = try await pair.send(to: instance) }
            },
            ConformanceCheck("the server vanishes before the handler has accepted") { pair in
                let held = HeldHandler(accepts: false, items: 1)
                try await self.vanishServer(pair, held, reading: 0) { held.started == 1 }
            },
            ConformanceCheck("the server vanishes before the first item") { pair in
                let held = HeldHandler(items: 0)
                try await self.vanishServer(pair, held, reading: 0) { held.end.waiting == 1 }
            },
            ConformanceCheck("the server vanishes in mid-stream") { pair in
                let held = HeldHandler(items: 3)
                try await self.vanishServer(pair, held, reading: 2) { held.end.waiting == 1 }
            },
            ConformanceCheck("the server vanishes while a slow reader holds the handler") { pair in
                let flood = Flood()
                let instance = try await pair.serve(flood.handler)
                let stream = try await pair.send(to: instance)
                _ = try await flood.settled()
                try await pair.vanishServer()
                try await requireError(.streamEndedEarly, from: "a request whose server is gone") {
                    for try await _ in stream {}
                }
            },
            ConformanceCheck("the client vanishes while it holds the handler") { pair in
                let flood = Flood()
                let instance = try await pair.serve(flood.handler)
                let stream = try await pair.send(to: instance)
                _ = try await flood.settled()
                try await pair.vanishClient()
                try await pair.serverIsIdle()
                try requireEqual(pair.statistics.map(\.cancellations), [1], "counted cancellations")
                try await requireError(.streamEndedEarly, .cancelled, .unavailable, from: "a client that is gone") {
                    for try await _ in stream {}
                }
            },
            ConformanceCheck("the client vanishes before the server looks at the request", startServer: false) { pair in
                let instance = try await pair.serve(answering { _ in [.number(1)] })
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try await requireError(
                            .unavailable,
                            .cancelled,
                            .streamEndedEarly,
                            .connectFailed,
                            from: "a client that is gone"
                        ) { _ = try await pair.call(to: instance) }
                    }
                    try await eventually("the request is queued") { pair.server.inFlight == 1 }
                    try await pair.vanishClient()
                    try await group.waitForAll()
                }
                pair.startServer()
                try await pair.serverIsIdle()
            },
            ConformanceCheck("the client vanishes before the handler has accepted") { pair in
                let held = HeldHandler(accepts: false, items: 1)
                try await self.vanishClient(pair, held) { held.started == 1 }
            },
            ConformanceCheck("the client vanishes before the first item") { pair in
                let held = HeldHandler(items: 0)
                try await self.vanishClient(pair, held) { held.end.waiting == 1 }
            },
            ConformanceCheck("the client vanishes in mid-stream") { pair in
                let held = HeldHandler(items: 2)
                try await self.vanishClient(pair, held) { held.end.waiting == 1 }
            },
            ConformanceCheck("connections that break end the streams and are replaced", with: self.reconnect),
        ]
    }

    static var sizeLimits: [ConformanceCheck] {
        [
            ConformanceCheck("a request that is too large is refused with advice", .init(requestLimit: 8192)) { pair in
                let instance = try await pair.serve(answering { [.number($0.payload.readableBytes)] })
                let big = "\"" + String(repeating: "x", count: 8192) + "\""
                let error = try await requireError(.tooLarge, from: "a request that is too large") {
                    _ = try await pair.send(big, to: instance)
                }
                let text = error.message.lowercased()
                try require(text.contains("8192"), "the limit is not named: \(error)")
                try require(text.contains("dyn_") || text.contains("tcp"), "there is no advice: \(error)")
                try requireEqual(pair.statistics.map(\.requests), [0], "requests that were sent all the same")
                let small = "\"" + String(repeating: "x", count: 4096) + "\""
                try requireEqual(try await pair.call(small, to: instance), [.number(4098)], "items of the next request")
            }
        ]
    }

    private static func vanishServer(
        _ pair: ConformancePair,
        _ held: HeldHandler,
        reading count: Int,
        when isThere: @escaping @Sendable () -> Bool
    ) async throws {
        let instance = try await pair.serve(held.handler)
        let read = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await requireError(.streamEndedEarly, from: "a request whose server is gone") {
                    var iterator = try await pair.send(to: instance).makeAsyncIterator()
                    while try await iterator.next() != nil { read.add() }
                }
            }
            try await eventually("the request is there") { isThere() && read.current >= count }
            try await pair.vanishServer()
            try await group.waitForAll()
        }
    }

    private static func vanishClient(
        _ pair: ConformancePair,
        _ held: HeldHandler,
        when isThere: @escaping @Sendable () -> Bool
    ) async throws {
        let instance = try await pair.serve(held.handler)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await requireError(.streamEndedEarly, .cancelled, .unavailable, from: "a client that is gone") {
                    for try await _ in try await pair.send(to: instance) {}
                }
            }
            try await eventually("the request is there") { isThere() }
            try await pair.vanishClient()
            try await eventually("the handler sees that the caller is gone") { held.cancelled == 1 }
            try await group.waitForAll()
        }
        try await pair.serverIsIdle()
        try requireEqual(pair.statistics.map(\.cancellations), [1], "counted cancellations")
    }

    @Sendable private static func reconnect(_ pair: ConformancePair) async throws {
        let held = HeldHandler(items: 2)
        let streaming = try await pair.serve("streaming", held.handler)
        let quick = try await pair.serve("quick", answering { _ in [.number(1)] })
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<8 {
                group.addTask {
                    try await requireError(.streamEndedEarly, from: "a stream whose connection broke") {
                        _ = try await pair.call(to: streaming, id: "r\(number)")
                    }
                }
            }
            try await eventually("all streams are open") { held.end.waiting == 8 }
            pair.cutConnections()
            try await group.waitForAll()
        }
        try await eventually("every handler sees it") { held.cancelled == 8 }
        try await eventually("the transport recovers") {
            do { return try await pair.call(to: quick) == [.number(1)] } catch let error as RequestPlaneError {
                // The very next request may meet a connection whose end is not known yet.
                let isKnown = [RequestPlaneError.Code.connectFailed, .streamEndedEarly, .unavailable, .timedOut]
                    .contains(error.code)
                try require(isKnown, "after broken connections: \(error)")
                return false
            }
        }
        try await pair.serverIsIdle()
    }
}
