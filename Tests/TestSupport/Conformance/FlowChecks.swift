import NIOCore
import RequestPlane

// Readers and handlers of different speed.

extension ConformanceCheck {
    static var flow: [ConformanceCheck] {
        [
            ConformanceCheck("a slow reader holds the handler back") { pair in
                let flood = Flood()
                let instance = try await pair.serve(flood.handler)
                do {
                    let stream = try await pair.send(to: instance)
                    var iterator = stream.makeAsyncIterator()
                    _ = try await iterator.next()
                    let held = try await flood.settled()
                    try require(
                        held * Flood.itemSize <= 24 * 1024 * 1024,
                        "\(held) items of \(Flood.itemSize) bytes were produced for a reader that has read one"
                    )
                    for _ in 0..<held { _ = try await iterator.next() }
                    try await eventually("the handler is pulled again") { flood.count > held }
                }
                try await pair.serverIsIdle()
            },
            ConformanceCheck("a slow reader holds nobody else back") { pair in
                let flood = Flood()
                let slow = try await pair.serve("flood", flood.handler)
                let quick = try await pair.serve("quick", answering { _ in [.number(1)] })
                let stream = try await pair.send(to: slow)
                _ = try await flood.settled()
                for number in 0..<20 {
                    try requireEqual(try await pair.call(to: quick, id: "q\(number)"), [.number(1)], "items")
                }
                withExtendedLifetime(stream) {}
            },
            ConformanceCheck("a slow handler does not time out", .init(timeout: .milliseconds(150))) { pair in
                let held = HeldHandler(accepts: false, items: 0)
                let accepting = try await pair.serve("accepting", held.handler)
                let first = HeldHandler(items: 0)
                let yielding = try await pair.serve("yielding", first.handler)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    let sent = ContinuousClock.now
                    for instance in [accepting, yielding] {
                        group.addTask {
                            try requireEqual(try await pair.call(to: instance, id: "\(instance.endpoint)"), [], "items")
                        }
                    }
                    try await eventually("both handlers wait") { held.started == 1 && first.end.waiting == 1 }
                    // Twice as long as any time limit of the transport.
                    try await eventually("all time limits have passed") {
                        ContinuousClock.now - sent > .milliseconds(300)
                    }
                    held.acceptance.open()
                    held.end.open()
                    first.end.open()
                    try await group.waitForAll()
                }
            },
            ConformanceCheck("each item arrives as soon as it is yielded") { pair in
                // The next item is made only when the last one was read: a transport that waits for more to send would stand still.
                let read = (0..<50).map { _ in Latch() }
                let instance = try await pair.serve { _ in
                    Script { index in
                        if index > 0 { try await read[index - 1].wait() }
                        return index < 50 ? .number(index) : nil
                    }
                }
                var count = 0
                for try await item in try await pair.send(to: instance) {
                    try requireEqual(item, .number(count), "item")
                    read[count].open()
                    count += 1
                }
                try requireEqual(count, 50, "items")
            },
        ]
    }
}
