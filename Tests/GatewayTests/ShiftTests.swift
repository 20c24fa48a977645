import Gateway
import NIOCore
import Synchronization
import TestSupport
import Testing

/// Clients with kept connections at work while their requests are shifted from one generation to another: not one error, nothing
/// executed twice, each answer from one generation.
@Suite struct ShiftTests {
    private final class Counts: Sendable {
        struct State {
            var answered = [1: 0, 2: 0]
            var failures: [String] = []
            var executed: [String: Int] = [:]
            var isOver = false
        }

        let state = Mutex(State())

        var isOver: Bool { self.state.withLock { $0.isOver } }
        var answered: Int { self.state.withLock { $0.answered.values.reduce(0, +) } }

        /// - Returns: whether the answer is whole, and of one generation.
        func add(_ text: String) -> Bool {
            self.state.withLock { state in
                for generation in [1, 2] where text == ShiftTests.answer(of: generation).joined() {
                    state.answered[generation, default: 0] += 1
                    return true
                }
                state.failures.append(text)
                return false
            }
        }
    }

    /// In three parts, each of which names the generation.
    private static func answer(of generation: Int) -> [String] {
        [
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n2\r\n\(generation)a\r\n",
            "2\r\n\(generation)b\r\n", "0\r\n\r\n",
        ]
    }

    private static func start(_ generation: Int, _ replica: Int, _ counts: Counts) async throws -> TestBackend {
        try await TestBackend(id: "frontend-\(replica)", generation: generation) { seen in
            counts.state.withLock { $0.executed[seen.line, default: 0] += 1 }
            return .init(parts: self.answer(of: generation), pause: .milliseconds(Int64.random(in: 0...4)))
        }
    }

    private static func client(_ number: Int, _ port: Int, _ counts: Counts) async throws {
        let connection = try RawClient(port: port)
        var request = 0
        while !counts.isOver {
            request += 1
            try connection.send("POST /\(number)/\(request) HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
            let received = await connection.receive(within: .seconds(20)) { $0.hasSuffix("0\r\n\r\n") }
            // Without what the gateway says about itself.
            let lines = received.text.split(separator: "\r\n", omittingEmptySubsequences: false)
            let text = lines.filter { !$0.hasPrefix("x-request-id") }.joined(separator: "\r\n")
            guard counts.add(text) else { return }
        }
    }

    @Test func aShiftLosesNothing() async throws {
        let counts = Counts()
        var backends: [TestBackend] = []
        for generation in [1, 2] {
            for replica in [0, 1] { backends.append(try await Self.start(generation, replica, counts)) }
        }
        let all = backends.map(\.backend)
        try await withGateway { gateway, port in
            gateway.setBackends(all, shares: [1: 100, 2: 0])
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<100 { group.addTask { try await Self.client(number, port, counts) } }
                for percent in [0, 5, 25] {
                    gateway.setBackends(all, shares: [1: 100 - percent, 2: percent])
                    let before = gateway.figures
                    let answered = counts.answered
                    try await eventually(within: .seconds(30), "requests at \(percent) %") {
                        counts.answered >= answered + 600
                    }
                    let placed = [1, 2].map { number in
                        let since = gateway.figures[number, default: TrafficFigures()]
                            .subtracting(before[number, default: TrafficFigures()])
                        return since.requests + since.inFlight - before[number, default: TrafficFigures()].inFlight
                    }
                    let total = placed[0] + placed[1]
                    // Some were given their place between the change and the look at it.
                    let isFair = abs(placed[1] * 100 - total * percent) < total * 2 + 1000
                    #expect(isFair && (percent > 0 || placed[1] == 0), "\(placed[1]) of \(total) at \(percent) %")
                }
                gateway.setBackends(all, shares: [1: 0, 2: 100])
                #expect(await gateway.waitUntilIdle(generation: 1, within: .seconds(10)))
                let last = gateway.figures(of: 1)
                #expect(last.inFlight == 0)
                // Although the gateway still knows them, and without a goodbye.
                for old in backends[..<2] { await old.kill() }
                let stopped = counts.answered
                try await eventually("the new ones alone go on") { counts.answered >= stopped + 600 }
                gateway.setBackends(Array(all[2...]), shares: [2: 100])
                let removed = counts.answered
                try await eventually("as before") { counts.answered >= removed + 300 }
                #expect(gateway.figures(of: 1) == last, "the old ones were given something")
                counts.state.withLock { $0.isOver = true }
                try await group.waitForAll()
            }
            let result = counts.state.withLock { $0 }
            #expect(result.failures == [])
            #expect(counts.answered >= 2700)
            #expect(result.executed.values.allSatisfy { $0 == 1 }, "something was executed twice")
            try await eventually("all have ended") { gateway.status.inFlight == 0 }
            for (generation, answered) in result.answered {
                let figures = gateway.figures(of: generation)
                #expect(figures.requests == answered && figures.errors == 0 && figures.cancelled == 0)
                #expect(figures.firstToken.count == answered && figures.duration.count == answered)
            }
        }
        for backend in backends { await backend.kill() }
    }

    @Test func waitingForAGenerationThatIsBusyEndsInTime() async throws {
        let backend = try await TestBackend(generation: 2) { _ in .init(parts: ["x"], delay: .hours(1)) }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend], shares: [2: 1])
            let client = try RawClient(port: port)
            try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            try await eventually("it runs") { gateway.outstanding(generation: 2) == 1 }
            gateway.setBackends([backend.backend], shares: [2: 0])
            #expect(await !gateway.waitUntilIdle(generation: 2, within: .milliseconds(50)))
            #expect(await gateway.waitUntilIdle(generation: 1, within: .zero), "nobody knows it")
            await backend.kill()
            #expect(await gateway.waitUntilIdle(generation: 2, within: .seconds(5)))
            withExtendedLifetime(client) {}
        }
    }
}
