import RequestPlane
internal import Synchronization

// A caller that does not want the answer any more, in every state of the request.

extension ConformanceCheck {
    static var callerCancels: [ConformanceCheck] {
        [
            ConformanceCheck("cancelling before the server looks at the request", startServer: false) { pair in
                let held = HeldHandler(items: 1)
                let instance = try await pair.serve(held.handler)
                try await self.cancelSend(pair, instance) { pair.server.inFlight == 1 }
                pair.startServer()
                try await pair.serverIsIdle()
            },
            ConformanceCheck("cancelling before the handler has accepted") { pair in
                let held = HeldHandler(accepts: false, items: 1)
                let instance = try await pair.serve(held.handler)
                try await self.cancelSend(pair, instance) { held.started == 1 }
                try await self.handlerHasEnded(held, pair)
            },
            ConformanceCheck("cancelling before sending") { pair in
                let held = HeldHandler(items: 1)
                let instance = try await pair.serve(held.handler)
                let go = Latch()
                let caller = Task {
                    try? await go.wait()
                    _ = try await pair.send(to: instance)
                }
                caller.cancel()
                go.open()
                try await requireError(.cancelled, from: "a cancelled caller") { try await caller.value }
                try await pair.serverIsIdle()
            },
            ConformanceCheck("dropping one of two streams leaves the other alone", with: self.dropOneOfTwo),
            ConformanceCheck("leaving after a failure counts as a failure", with: self.leaveAfterFailure),
            ConformanceCheck("stopping twice, and after the end, does no harm") { pair in
                let instance = try await pair.serve(answering { _ in [.number(1)] })
                let stream = try await pair.send(to: instance)
                try requireEqual(try await stream.all(), [.number(1)], "items")
                stream.stop()
                stream.stop()
                try requireEqual(try await pair.call(to: instance), [.number(1)], "items of the next request")
            },
        ] + State.allCases.flatMap { state in Way.allCases.map { way in self.cancel(state, way) } }
    }

    /// How far the request has come when the caller changes its mind.
    private enum State: String, CaseIterable {
        case accepted = "before the first item"
        case streaming = "in mid-stream"
        case lastItemRead = "after the last item"

        var itemsRead: Int {
            switch self {
            case .accepted: 0
            case .streaming: 1
            case .lastItemRead: 3
            }
        }
        /// What the handler yields before it waits.
        var items: Int { self == .accepted ? 0 : 3 }
    }

    private enum Way: String, CaseIterable {
        case drop = "dropping the stream"
        case cancel = "cancelling the reading task"
        case stop = "stopping"
    }

    private static func cancel(_ state: State, _ way: Way) -> ConformanceCheck {
        ConformanceCheck("\(way.rawValue) \(state.rawValue)") { pair in
            let held = HeldHandler(items: state.items)
            let instance = try await pair.serve(held.handler)
            switch way {
            case .drop: try await self.readAndDrop(pair, instance, state, held)
            case .cancel: try await self.readAndCancel(pair, instance, state, held)
            case .stop: try await self.readAndStop(pair, instance, state, held)
            }
            try await self.handlerHasEnded(held, pair)
        }
    }

    /// Who is cancelled between two items is not asked for the next one, and sees nothing of it.
    private static func handlerWaits(_ held: HeldHandler, requests: Int = 1) async throws {
        try await eventually("the handler has yielded everything and waits") { held.end.waiting == requests }
    }

    private static func handlerHasEnded(_ held: HeldHandler, _ pair: ConformancePair) async throws {
        try await eventually("the handler sees the cancellation") { held.cancelled == 1 }
        try await pair.serverIsIdle()
        try requireEqual(pair.statistics.map(\.cancellations), [1], "counted cancellations")
        try requireEqual(pair.statistics.map(\.errors), [0], "counted errors")
    }

    /// Cancels a task that sends, once the request has come to a state.
    private static func cancelSend(
        _ pair: ConformancePair,
        _ instance: Instance,
        when isThere: @escaping @Sendable () -> Bool
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await requireError(.cancelled, from: "a cancelled caller") {
                    _ = try await pair.send(to: instance)
                }
            }
            try await eventually("the request is there") { isThere() }
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    private static func readAndDrop(
        _ pair: ConformancePair,
        _ instance: Instance,
        _ state: State,
        _ held: HeldHandler
    ) async throws {
        let stream = try await pair.send(to: instance)
        var iterator = stream.makeAsyncIterator()
        for _ in 0..<state.itemsRead { try require(try await iterator.next() != nil, "the stream ended early") }
        try await self.handlerWaits(held)
    }

    private static func readAndCancel(
        _ pair: ConformancePair,
        _ instance: Instance,
        _ state: State,
        _ held: HeldHandler
    ) async throws {
        let read = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                let stream = try await pair.send(to: instance)
                read.add()
                try await requireError(.cancelled, from: "a cancelled reader") {
                    for try await _ in stream {
                        // Reading stops here until the cancellation, so that it happens in this state.
                        if read.add() == state.itemsRead + 1 { try? await Latch().wait() }
                    }
                }
            }
            try await eventually("the reader is there") { read.current == state.itemsRead + 1 }
            try await self.handlerWaits(held)
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    private static func readAndStop(
        _ pair: ConformancePair,
        _ instance: Instance,
        _ state: State,
        _ held: HeldHandler
    ) async throws {
        let stream = try await pair.send(to: instance)
        var iterator = stream.makeAsyncIterator()
        for _ in 0..<state.itemsRead { try require(try await iterator.next() != nil, "the stream ended early") }
        try await self.handlerWaits(held)
        stream.stop()
        stream.stop()
        var rest = 0
        while try await iterator.next() != nil { rest += 1 }
        try require(rest <= state.items - state.itemsRead, "items that the handler has not yielded")
    }

    @Sendable private static func dropOneOfTwo(_ pair: ConformancePair) async throws {
        let held = HeldHandler(items: 2)
        let instance = try await pair.serve(held.handler)
        let kept = try await pair.send(to: instance, id: "kept")
        do {
            let dropped = try await pair.send(to: instance, id: "dropped")
            for try await _ in dropped {
                try await self.handlerWaits(held, requests: 2)
                break
            }
        }
        try await eventually("the handler sees the cancellation") { held.cancelled == 1 }
        held.end.open()
        try requireEqual(try await kept.all(), [.number(0), .number(1)], "items of the stream that was kept")
        try await pair.serverIsIdle()
        try requireEqual(held.cancelled, 1, "requests that were cancelled")
    }

    @Sendable private static func leaveAfterFailure(_ pair: ConformancePair) async throws {
        let instance = try await pair.serve { _ in
            // Does not end by itself: the caller is gone before the handler is.
            AsyncThrowingStream { $0.yield(.failure(RemoteError(kind: .unknown, message: "broken"))) }
        }
        do {
            var iterator = try await pair.send(to: instance).makeAsyncIterator()
            guard case .failure = try await iterator.next() else {
                throw ConformanceViolation(description: "no failure was read")
            }
        }
        try await pair.serverIsIdle()
        try requireEqual(pair.statistics.map(\.errors), [1], "counted errors")
        try requireEqual(pair.statistics.map(\.cancellations), [0], "counted cancellations")
    }
}
