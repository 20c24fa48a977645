import Gateway
import NIOCore
import Synchronization
import TestSupport
import Testing

/// Clients with kept connections at work while backends are restarted one after the other: not one error, nothing executed twice.
@Suite struct NoRequestLostTests {
    private final class Counts: Sendable {
        struct State {
            var answered = 0
            var failures: [String] = []
            var isOver = false
        }

        let state = Mutex(State())

        var isOver: Bool { self.state.withLock { $0.isOver } }
        func end() { self.state.withLock { $0.isOver = true } }

        var answered: Int { self.state.withLock { $0.answered } }

        func add(_ text: String, isGood: Bool) {
            self.state.withLock { state in
                if isGood { state.answered += 1 } else { state.failures.append(text) }
            }
        }
    }

    @Test func restartsThatAreAnnouncedLoseNothing() async throws {
        try await Self.run(method: "POST", isAnnounced: true, restarts: 20)
    }

    @Test func restartsThatAreNotAnnouncedLoseNothingThatMayBeSentAgain() async throws {
        try await Self.run(method: "GET", isAnnounced: false, restarts: 20)
    }

    /// A backend of both: 200 with chunks, now and then slow.
    private static func start(_ id: String, port: Int = 0, _ executed: Executed) async throws -> TestBackend {
        try await TestBackend(id: id, port: port) { seen in
            executed.add(seen.line)
            return .init(
                parts: [
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n", "3\r\ntwo\r\n", "0\r\n\r\n",
                ],
                pause: .milliseconds(Int64.random(in: 0...3))
            )
        }
    }

    private static func run(method: String, isAnnounced: Bool, restarts: Int) async throws {
        let executed = Executed()
        let counts = Counts()
        var backends = [try await self.start("frontend-0", executed), try await self.start("frontend-1", executed)]
        try await withGateway { gateway, port in
            gateway.setBackends(backends.map(\.backend))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for client in 0..<24 {
                    group.addTask {
                        let connection = try RawClient(port: port)
                        var number = 0
                        while !counts.isOver {
                            number += 1
                            let length = method == "POST" ? "Content-Length: 2\r\n" : ""
                            let body = method == "POST" ? "ab" : ""
                            try connection.send(
                                "\(method) /\(client)/\(number) HTTP/1.1\r\nHost: a\r\n\(length)\r\n\(body)"
                            )
                            let received = await connection.receive(within: .seconds(10)) { $0.hasSuffix("0\r\n\r\n") }
                            let isGood =
                                received.text.hasPrefix("HTTP/1.1 200 ")
                                && received.text.hasSuffix("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
                            counts.add(received.text, isGood: isGood)
                            guard isGood else { return }
                        }
                    }
                }
                for restart in 0..<restarts {
                    let index = restart % 2
                    let old = backends[index]
                    if isAnnounced {
                        gateway.setBackends([backends[1 - index].backend])
                        #expect(await gateway.waitUntilIdle(old.backend, within: .seconds(5)))
                    }
                    await old.stop()
                    backends[index] = try await self.start(old.id, port: old.port, executed)
                    if isAnnounced { gateway.setBackends(backends.map(\.backend)) }
                    let answered = counts.answered
                    try await eventually("the clients go on") { counts.answered >= answered + 30 }
                }
                counts.end()
                try await group.waitForAll()
            }
            let result = counts.state.withLock { $0 }
            #expect(result.failures == [])
            #expect(result.answered > 500)
            if method == "POST" {
                #expect(executed.value.values.allSatisfy { $0 == 1 }, "something was executed twice")
            }
            #expect(gateway.status.inFlight == 0 && gateway.status.heldRequests == 0)
        }
        for backend in backends { await backend.kill() }
    }
}

/// How often each request was executed.
private final class Executed: Sendable {
    private let counts = Mutex<[String: Int]>([:])

    var value: [String: Int] { self.counts.withLock { $0 } }

    func add(_ key: String) { self.counts.withLock { $0[key, default: 0] += 1 } }
}
