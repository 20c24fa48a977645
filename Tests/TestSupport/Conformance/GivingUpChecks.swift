import NIOCore
import RequestPlane

// A server that ends before the answer does, in every state of the request.

extension ConformanceCheck {
    static var serverGivesUp: [ConformanceCheck] {
        Reason.allCases.flatMap { reason in State.allCases.map { state in self.giveUp(reason, state) } } + [
            ConformanceCheck(
                "a server that is cancelled does not leave queued requests waiting",
                .init(timeout: .milliseconds(500)),
                startServer: false
            ) { pair in
                let held = HeldHandler(items: 1)
                let instance = try await pair.serve(held.handler)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try await requireError(
                            .streamEndedEarly,
                            .unavailable,
                            .timedOut,
                            .connectFailed,
                            from: "a queued request"
                        ) { _ = try await pair.call(to: instance) }
                    }
                    try await eventually("the request is queued") { pair.server.inFlight == 1 }
                    try await pair.cancelServer()
                    try await group.waitForAll()
                }
                try requireEqual(pair.server.inFlight, 0, "requests in flight at a server that has ended")
            }
        ]
    }

    private enum Reason: String, CaseIterable {
        case deadline = "the drain deadline"
        case cancelled = "cancelling run()"
    }

    private enum State: String, CaseIterable {
        case unaccepted = "before the handler has accepted"
        case accepted = "before the first item"
        case streaming = "in mid-stream"
        case heldBack = "while a slow reader holds the handler"
    }

    private static func giveUp(_ reason: Reason, _ state: State) -> ConformanceCheck {
        ConformanceCheck("\(reason.rawValue) \(state.rawValue)") { pair in
            let held = HeldHandler(accepts: state != .unaccepted, items: state == .streaming ? 2 : 0)
            let flood = Flood()
            let instance = try await pair.serve(state == .heldBack ? flood.handler : held.handler)
            try await withThrowingTaskGroup(of: Void.self) { group in
                let isThere = Latch()
                group.addTask {
                    try await requireError(.streamEndedEarly, from: "a request that was given up") {
                        let stream = try await pair.send(to: instance)
                        var iterator = stream.makeAsyncIterator()
                        if state == .streaming || state == .heldBack { _ = try await iterator.next() }
                        isThere.open()
                        if state == .heldBack { try await pair.serverHasEnded() }
                        while try await iterator.next() != nil {}
                    }
                }
                if state == .unaccepted {
                    try await eventually("the handler has started") { held.started == 1 }
                } else {
                    try await isThere.wait()
                }
                if state == .heldBack { _ = try await flood.settled() }
                // One that is between two items would be ended without being asked.
                if state == .accepted || state == .streaming {
                    try await eventually("the handler waits") { held.waiting == 1 }
                }
                switch reason {
                case .deadline: await pair.drainServer(deadline: .milliseconds(10))
                case .cancelled: break
                }
                try await reason == .deadline ? pair.serverHasEnded() : pair.cancelServer()
                try await group.waitForAll()
            }
            if state != .heldBack {
                try requireEqual(held.cancelled, 1, "handlers that saw the cancellation")
            }
            try requireEqual(pair.server.inFlight, 0, "requests in flight at a server that has ended")
            try await requireError(.unavailable, .connectFailed, .unknownEndpoint, from: "a call after the end") {
                _ = try await pair.send(to: instance)
            }
        }
    }
}

/// A handler that yields items for as long as it is pulled.
final class Flood: Sendable {
    static let itemSize = 64 * 1024
    private let produced = Counter()
    private let ended = Counter()

    var count: Int { self.produced.current }

    var handler: RequestHandler {
        var payload = ByteBuffer(string: "\"")
        payload.writeRepeatingByte(UInt8(ascii: "x"), count: Self.itemSize - 2)
        payload.writeString("\"")
        return { [payload] _ in
            Script { _ in
                try Task.checkCancellation()
                self.produced.add()
                return .data(payload)
            }
        }
    }

    /// Waits until the handler is not pulled any more, and returns how often it was.
    func settled() async throws -> Int {
        var (last, unchanged) = (-1, 0)
        try await eventually("the handler is not pulled any more") {
            let now = self.count
            unchanged = now == last && now > 0 ? unchanged + 1 : 0
            last = now
            return unchanged >= 8
        }
        return last
    }
}
