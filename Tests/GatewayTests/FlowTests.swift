import Gateway
import Glibc
import NIOCore
import TestSupport
import Testing

/// Back-pressure, limits of time and number, and other protocols.
@Suite struct FlowTests {
    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test func aSlowClientSlowsItsBackend() async throws {
        let size = 64 << 20
        let listener = try SilentListener()
        try await withGateway { gateway, port in
            gateway.setBackends([Backend(id: "x", generation: 1, host: "127.0.0.1", port: listener.port)])
            let client = try RawClient(port: port, receiveBuffer: 4096)
            try client.send(Self.get)
            let backend = RawClient(accepted: listener.accept())
            try backend.send("HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n")
            let bytes = [UInt8](repeating: 120, count: 1 << 20)
            // What the kernel's buffers hold, and not the answer.
            var sent = try await backend.sendUntilStuck(most: size)
            #expect(sent < 24 << 20, "\(sent) bytes went to a client that does not read")
            async let read = client.receiveCount(within: .seconds(20)) { $0 >= size }
            try await eventually(within: .seconds(20), "the rest follows") {
                while case let count = backend.sendSome(Array(bytes.prefix(size - sent))), count > 0 { sent += count }
                return sent == size
            }
            #expect(await read >= size)
        }
    }

    @Test func aClientThatStopsReadingIsCutOff() async throws {
        let listener = try SilentListener()
        try await withGateway {
            $0.limits.writeTimeout = .milliseconds(400)
        } _: { gateway, port in
            gateway.setBackends([Backend(id: "x", generation: 1, host: "127.0.0.1", port: listener.port)])
            let client = try RawClient(port: port, receiveBuffer: 4096)
            try client.send(Self.get)
            let backend = RawClient(accepted: listener.accept())
            try backend.send("HTTP/1.1 200 OK\r\ncontent-length: \(64 << 20)\r\n\r\n")
            let bytes = [UInt8](repeating: 120, count: 1 << 20)
            try await eventually("the request is ended") {
                _ = backend.sendSome(bytes)
                return gateway.status.inFlight == 0
            }
            #expect(await backend.receiveAll().isClosed, "the backend is told")
            let statistics = try #require(gateway.status.backends.first)
            #expect(statistics.stalled == 1 && statistics.cancelled == 0 && statistics.failures.isEmpty)
            try await eventually("its connection is gone") { gateway.status.connections == 0 }
            #expect(await client.receiveAll().isReset, "what is there does not look complete")
        }
    }

    @Test func aClientThatReadsSlowlyIsNotCutOff() async throws {
        let listener = try SilentListener()
        try await withGateway {
            $0.limits.writeTimeout = .seconds(2)
        } _: { gateway, port in
            gateway.setBackends([Backend(id: "x", generation: 1, host: "127.0.0.1", port: listener.port)])
            let client = try RawClient(port: port, receiveBuffer: 4096)
            try client.send(Self.get)
            let backend = RawClient(accepted: listener.accept())
            try backend.send("HTTP/1.1 200 OK\r\ncontent-length: \(64 << 20)\r\n\r\n")
            let bytes = [UInt8](repeating: 120, count: 1 << 20)
            // Time itself is the subject: twice the limit, at a pace at which the gateway's buffer never runs empty.
            let end = ContinuousClock.now + .seconds(4)
            var taken = 0
            while ContinuousClock.now < end {
                _ = backend.sendSome(bytes)
                taken += await client.receiveCount(within: .milliseconds(50)) { $0 > 0 }
                try await Task.sleep(for: .milliseconds(20))
            }
            #expect(gateway.status.inFlight == 1 && gateway.status.backends.first?.stalled == 0, "\(taken) bytes taken")
            #expect(taken > 0 && taken < 8 << 20)
        }
    }

    @Test func aLastAnswerIsNotCutShortForASlowClient() async throws {
        let size = 2 << 20
        let backend = try await TestBackend { _ in
            .init(parts: ["HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n" + String(repeating: "x", count: size)])
        }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port, receiveBuffer: 4096)
            try client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            // Longer than a connection lingers whose answer was written: time itself is the subject.
            try await Task.sleep(for: .milliseconds(1500))
            #expect(await client.receiveCount(within: .seconds(10)) { _ in false } > size)
        }
        await backend.kill()
    }

    @Test func aSlowBackendSlowsItsClient() async throws {
        // Accepts and never reads.
        let listener = try SilentListener()
        try await withGateway { gateway, port in
            gateway.setBackends([Backend(id: "x", generation: 1, host: "127.0.0.1", port: listener.port)])
            let client = try RawClient(port: port)
            try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n")
            let sent = try await client.sendUntilStuck(most: 60_000_000)
            #expect(sent < 40_000_000, "\(sent) bytes went into nothing")
            #expect(gateway.status.inFlight == 1)
        }
    }

    @Test func slowHeadersTimeOut() async throws {
        try await withGateway {
            $0.limits.headerTimeout = .milliseconds(300)
        } _: { _, port in
            let client = try RawClient(port: port)
            try client.send("GET / HT")
            async let received = client.receiveAll()
            for _ in 0..<5 {
                // The client's pace, well below the limit.
                try await Task.sleep(for: .milliseconds(80))
                try? client.send("T")
            }
            #expect(await received.text.hasPrefix("HTTP/1.1 408 "), "a byte now and then buys no time")
        }
    }

    @Test func aPausingBodyTimesOut() async throws {
        let backend = try await TestBackend { _ in .text("ok") }
        try await withGateway {
            $0.limits.bodyTimeout = .milliseconds(200)
        } _: { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo")
            #expect(await client.receiveAll().text.hasPrefix("HTTP/1.1 408 "))
            try await eventually("nothing is left of it") {
                gateway.status.inFlight == 0 && backend.openConnections == 0
            }
        }
        await backend.kill()
    }

    @Test func anIdleConnectionIsClosed() async throws {
        let backend = try await TestBackend { _ in .text("ok") }
        try await withGateway {
            $0.limits.idleTimeout = .milliseconds(200)
        } _: { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send(Self.get)
            let received = await client.receiveAll()
            #expect(received.isClosed && received.text.hasSuffix("ok"))
        }
        await backend.kill()
    }

    @Test func connectionsAreCounted() async throws {
        try await withGateway {
            $0.limits.maximumConnections = 1
        } _: { gateway, port in
            let first = try RawClient(port: port)
            try await eventually("open") { gateway.status.connections == 1 }
            let second = try RawClient(port: port)
            let received = await second.receiveAll()
            #expect(received.text.hasPrefix("HTTP/1.1 503 ") && received.text.contains("too_many_connections"))
            withExtendedLifetime(first) {}
        }
    }

    @Test func runningRequestsAreCounted() async throws {
        let backend = try await TestBackend { _ in .init(parts: ["x"], delay: .hours(1)) }
        try await withGateway {
            $0.limits.maximumRequests = 1
        } _: { gateway, port in
            gateway.setBackends([backend.backend])
            let first = try RawClient(port: port)
            try first.send(Self.get)
            try await eventually("running") { gateway.status.inFlight == 1 }
            let second = try RawClient(port: port)
            try second.send(Self.get)
            let received = await second.receiveAnswer()
            #expect(received.text.hasPrefix("HTTP/1.1 503 ") && received.text.contains("\r\nretry-after: 1\r\n"))
            #expect(gateway.status.refusals == ["too_many_requests": 1])
        }
        await backend.kill()
    }

    @Test func aWebSocketPassesThrough() async throws {
        let backend = try await TestBackend { _ in
            .init(
                parts: ["HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly"],
                echoes: true
            )
        }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
            )
            let head = await client.receive { $0.hasSuffix("early") }
            #expect(head.text.hasPrefix("HTTP/1.1 101 ") && head.text.contains("\r\nUpgrade: websocket\r\n"))
            #expect(head.text.contains("\r\nconnection: upgrade\r\n"))
            let seen = try #require(backend.seen.first)
            #expect(
                seen.has("connection: upgrade") && seen.has("upgrade: websocket") && seen.has("Sec-WebSocket-Key: k")
            )
            try client.send("\u{0}raw\r\n")
            #expect(await client.receive { $0.hasSuffix("\r\n") }.text == "\u{0}raw\r\n")
            try client.send("last")
            client.endOutput()
            let rest = await client.receiveAll()
            #expect(rest.text == "last" && rest.isClosed && !rest.isReset)
            try await eventually("nothing is left of it") {
                gateway.status.inFlight == 0 && backend.openConnections == 0
            }
        }
        await backend.kill()
    }
}

extension RawClient {
    /// Sends for as long as anything is taken, and for half a second more.
    ///
    /// - Parameter limit: how much at most.
    /// - Returns: how many bytes were taken.
    /// - Throws: when the test is cancelled.
    fileprivate func sendUntilStuck(most limit: Int) async throws -> Int {
        let bytes = [UInt8](repeating: 120, count: 1 << 20)
        var (sent, looks) = (0, 0)
        while sent < limit, looks < 50 {
            let count = self.sendSome(Array(bytes.prefix(limit - sent)))
            sent += count
            looks = count == 0 ? looks + 1 : 0
            // The pace of the looks: that nothing happens for a while is what is looked for.
            if count == 0 { try await Task.sleep(for: .milliseconds(10)) }
        }
        return sent
    }
}

/// A listener that accepts through the kernel and never reads.
final class SilentListener: Sendable {
    private let descriptor: Int32
    let port: Int

    init() throws {
        self.port = try freePort()
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(self.port).bigEndian)
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0, listen(self.descriptor, 16) == 0 else {
            throw RawClient.Failure(what: "listen", errno: errno)
        }
    }

    deinit { close(self.descriptor) }

    /// Accepts the connection that waits.
    func accept() -> Int32 { Glibc.accept(self.descriptor, nil, nil) }

    /// Gives the descriptor to somebody else.
    func duplicate() -> Int32 { dup(self.descriptor) }
}
