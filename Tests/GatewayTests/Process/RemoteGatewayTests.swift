import Foundation
import Gateway
import Logging
import NIOCore
import TestSupport
import Testing

/// A gateway that is controlled over a socket, and goes on without whoever controls it.
@Suite struct RemoteGatewayTests {
    private static let get = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    /// One launcher after the other, in front of the same port.
    private struct Place {
        let programs = LocalPrograms()
        let port: Int
        let folder: URL

        func launcher(_ change: (inout GatewayConfiguration) -> Void = { _ in }) -> RemoteGateway {
            var configuration = GatewayConfiguration(listeners: [.tcp(host: "127.0.0.1", port: self.port)])
            change(&configuration)
            var logger = Logger(label: "launcher")
            logger.logLevel = .error
            return RemoteGateway(
                configuration,
                controlSocket: self.folder.appending(path: "gateway.sock").path(),
                programs: self.programs,
                logger: logger
            )
        }

        func ask() async throws -> String {
            let client = try RawClient(port: self.port)
            try client.send(RemoteGatewayTests.get)
            return await client.receiveAll(within: .seconds(20)).text
        }
    }

    private func withPlace(_ body: (Place) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in
            let place = Place(port: try freePort(), folder: folder)
            let result: Result<Void, any Error>
            do { result = .success(try await body(place)) } catch { result = .failure(error) }
            await place.programs.end()
            try result.get()
        }
    }

    /// Serves while a body runs; then the launcher is gone, without having said anything.
    private func serving(_ gateway: RemoteGateway, _ body: () async throws -> Void) async throws {
        try await gateway.bind()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { _ = await gateway.serve() }
            try await body()
            group.cancelAll()
        }
    }

    /// Words, one after the other.
    private static func stream(_ words: Int, pause: TimeAmount) -> TestBackend.Answer {
        let parts = (0..<words).map { "3\r\n\($0 % 10),\n\r\n" }
        return TestBackend.Answer(
            parts: ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"] + parts + ["0\r\n\r\n"],
            pause: pause
        )
    }

    @Test func `requests are served, counted and waited for as by a gateway in this process`() async throws {
        try await self.withPlace { place in
            let backend = try await TestBackend { _ in .text("hello") }
            let gateway = place.launcher()
            try await self.serving(gateway) {
                gateway.setBackends([backend.backend], shares: [1: 100])
                for _ in 0..<3 {
                    let answer = try await place.ask()
                    #expect(answer.hasSuffix("hello"))
                }
                #expect(await gateway.waitUntilIdle(generation: 1, within: .seconds(20)))
                #expect(await gateway.figures(of: 1).requests == 3)
                #expect(await gateway.figures(of: 2) == TrafficFigures())
                let status = await gateway.status
                #expect(status.backends.map(\.backend) == [backend.backend] && status.backends.first?.requests == 3)
                #expect(await gateway.addresses == ["http://127.0.0.1:\(place.port)"])
                #expect(gateway.processID == getpid())
                gateway.setBackends([], shares: nil)
                #expect(await gateway.waitUntilIdle(backend.backend, within: .seconds(20)))
                #expect(await !gateway.pause(ifIdleFor: .seconds(3600)))
                #expect(await gateway.idleTime < .seconds(3600))
                await gateway.drain(within: .seconds(5))
                #expect(throws: RawClient.Failure.self) { try RawClient(port: place.port) }
                #expect(await gateway.status.backends.first?.requests == 3, "what was told last")
            }
        }
    }

    @Test func `a stream goes on when the launcher is gone, and the next launcher finds what it left`() async throws {
        try await self.withPlace { place in
            let backend = try await TestBackend { seen in
                seen.line.contains("/stream") ? Self.stream(40, pause: .milliseconds(20)) : .text("short")
            }
            let traffic = GatewayTraffic(backends: [backend.backend], shares: [1: 100])
            let first = place.launcher()
            let client = try await {
                var client: RawClient?
                try await self.serving(first) {
                    first.setBackends(traffic.backends, shares: traffic.shares)
                    #expect(try await place.ask().hasSuffix("short"))
                    let streaming = try RawClient(port: place.port)
                    try streaming.send("GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    #expect(await streaming.receive(within: .seconds(20)) { $0.contains("0,") }.text.contains("0,"))
                    client = streaming
                    place.programs.leave()
                }
                return try #require(client)
            }()
            // There is no launcher.
            #expect(try await place.ask().hasSuffix("short"), "requests are served as it was said last")
            let rest = await client.receiveAll(within: .seconds(30)).text
            #expect(rest.hasSuffix("9,\n\r\n0\r\n\r\n"), "the stream ends whole: \(rest.suffix(40))")

            let second = place.launcher()
            try await second.bind()
            #expect(second.inherited == traffic)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = await second.serve() }
                #expect(try await place.ask().hasSuffix("short"))
                #expect(await second.figures(of: 1).requests >= 3, "counters go on")
                let other = try await TestBackend(id: "frontend-1", generation: 2) { _ in .text("other") }
                second.setBackends([other.backend], shares: nil)
                #expect(await second.waitUntilIdle(generation: 1, within: .seconds(20)))
                #expect(try await place.ask().hasSuffix("other"))
                #expect(place.programs.started == 1)
                await second.drain(within: .seconds(5))
                group.cancelAll()
            }
            #expect(throws: RawClient.Failure.self) { try RawClient(port: place.port) }
        }
    }

    @Test func `connections wait while the process is started again, and nobody is refused`() async throws {
        try await self.withPlace { place in
            let backend = try await TestBackend { _ in .text("hello") }
            let gateway = place.launcher()
            try await self.serving(gateway) {
                gateway.setBackends([backend.backend], shares: [1: 100])
                #expect(try await place.ask().hasSuffix("hello"))
                for round in 1...3 {
                    place.programs.crash()
                    // At once: some of them meet the end of the process before it has closed everything, and nothing of theirs was sent.
                    try await eventually("it is started again") { place.programs.started == round + 1 }
                    #expect(try await place.ask().hasSuffix("hello"), "round \(round)")
                }
                #expect(await gateway.figures(of: 1).requests == 1, "of the last process")
            }
        }
    }

    @Test func `a process that ends again and again is given up with words`() async throws {
        try await self.withPlace { place in
            let gateway = place.launcher()
            try await gateway.bind()
            let trouble = await withTaskGroup(of: String?.self) { group in
                group.addTask { await gateway.serve() }
                group.addTask {
                    var seen = 0
                    while !Task.isCancelled {
                        if place.programs.started > seen {
                            seen = place.programs.started
                            place.programs.crash()
                        }
                        try? await Task.sleep(for: .milliseconds(5))
                    }
                    return nil
                }
                let trouble = await group.next() ?? nil
                group.cancelAll()
                return trouble
            }
            #expect(trouble?.contains("ended \(CrashLoop.limit) times") == true, "\(trouble ?? "it goes on")")
        }
    }

    @Test func `a launcher that wants other limits puts another process in place, and no connection is refused`()
        async throws
    {
        try await self.withPlace { place in
            let backend = try await TestBackend { seen in
                seen.line.contains("/stream") ? Self.stream(40, pause: .milliseconds(20)) : .text("hello")
            }
            let first = place.launcher()
            var client: RawClient?
            try await self.serving(first) {
                first.setBackends([backend.backend], shares: nil)
                let streaming = try RawClient(port: place.port)
                try streaming.send("GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                #expect(await streaming.receive(within: .seconds(20)) { $0.contains("0,") }.text.contains("0,"))
                client = streaming
                place.programs.leave()
            }
            let second = place.launcher { $0.limits.maximumConnections = 7 }
            try await self.serving(second) {
                // Connections come all the time: of two that accept, one finds that the other one was faster, which NIO takes for its own fault.
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<4 {
                        group.addTask {
                            var afterwards = 0
                            while afterwards < 20 {
                                if place.programs.started == 2 { afterwards += 1 }
                                let answer = try await place.ask()
                                #expect(answer.hasSuffix("hello"))
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                try await eventually("another process serves") { place.programs.started == 2 }
                let rest = await client?.receiveAll(within: .seconds(30)).text ?? ""
                #expect(rest.hasSuffix("9,\n\r\n0\r\n\r\n"), "the old one answers what it has: \(rest.suffix(40))")
            }
        }
    }

    @Test func `a port that is taken is said by its address`() async throws {
        try await self.withPlace { place in
            let other = try await TestBackend(port: place.port) { _ in .text("other") }
            await #expect(throws: GatewayError.self) { try await place.launcher().bind() }
            await other.kill()
        }
    }
}
