import Gateway
import Glibc
import Logging
import TestSupport
import Testing

/// When a gateway is idle, and what becomes of those who come while it stops.
@Suite struct IdleTests {
    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test func aGatewayIsIdleWhileNoRequestIsHere() async throws {
        let backend = try await TestBackend { _ in .text("ok") }
        try await withGateway { gateway, port in
            try await eventually("nobody was there for a while") { gateway.idleTime > .milliseconds(20) }
            let client = try RawClient(port: port)
            try client.send(Self.get)
            try await eventually("the request waits") { gateway.status.heldRequests == 1 }
            #expect(gateway.idleTime == .zero)
            gateway.setBackends([backend.backend])
            #expect(await client.receiveAnswer().text.hasPrefix("HTTP/1.1 200 "))
            try await eventually("it has been answered") { gateway.idleTime > .zero }
            #expect(gateway.idleTime < .seconds(5))
        }
        await backend.kill()
    }

    @Test func nobodyIsCutOffByAPause() async throws {
        let backend = try await TestBackend { _ in .text("ok") }
        try await withGateway { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try await eventually("it is connected") { gateway.status.connections == 1 }
            #expect(await !gateway.pause(ifIdleFor: .zero), "a new connection has a request to send")
            try client.send(Self.get)
            #expect(await client.receiveAnswer().text.hasPrefix("HTTP/1.1 200 "))
            try client.send("GET / HTTP/1.1\r\n")
            #expect(await !gateway.pause(ifIdleFor: .zero), "half of a request is here")
            try client.send("Host: a\r\n\r\n")
            #expect(await client.receiveAnswer().text.hasPrefix("HTTP/1.1 200 "))
            #expect(await !gateway.pause(ifIdleFor: .seconds(60)), "a request was here a moment ago")
            // Each of these gateways went on accepting.
            let other = try RawClient(port: port)
            try other.send(Self.get)
            #expect(await other.receiveAnswer().text.hasPrefix("HTTP/1.1 200 "))
            try await eventually("both are idle") { await gateway.pause(ifIdleFor: .zero) }
        }
        await backend.kill()
    }

    @Test func whoeverComesAfterwardsWaitsForTheNextGateway() async throws {
        let backend = try await TestBackend { _ in .text("ok") }
        let listener = try SilentListener()
        var late: RawClient?
        try await withGateway {
            $0.listeners = [.inherited(descriptor: listener.duplicate(), name: "http")]
        } _: { gateway, port in
            gateway.setBackends([backend.backend])
            let client = try RawClient(port: port)
            try client.send(Self.get)
            #expect(await client.receiveAnswer().text.hasPrefix("HTTP/1.1 200 "))
            try await eventually("it is idle") { await gateway.pause(ifIdleFor: .zero) }
            late = try RawClient(port: port)
            try late?.send(Self.get)
            // On a connection that is open a request is answered until the last moment.
            try client.send(Self.get)
            #expect(await client.receiveAnswer().text.hasPrefix("HTTP/1.1 200 "))
            #expect(gateway.status.connections == 1, "the late one would have been accepted by now")
            try client.send(Self.get)
            await gateway.drain(within: .seconds(5))
            let answer = await client.receiveAll()
            #expect(answer.text.hasPrefix("HTTP/1.1 200 ") && answer.isClosed && !answer.isReset, "\(answer)")
            #expect(backend.seen.count == 3, "the late one is not here")
        }
        try await withGateway {
            $0.listeners = [.inherited(descriptor: listener.duplicate(), name: "http")]
        } _: { gateway, _ in
            gateway.setBackends([backend.backend])
            #expect(await late?.receiveAnswer().text.hasPrefix("HTTP/1.1 200 ") ?? false)
        }
        await backend.kill()
    }

    @Test func theQueueOfAnInheritedSocketIsNotShortened() async throws {
        let listener = try SilentListener()
        try await withGateway {
            $0.listeners = [.inherited(descriptor: listener.duplicate(), name: "http")]
        } _: { _, _ in
            let descriptor = listener.duplicate()
            defer { close(descriptor) }
            var information = tcp_info()
            var length = socklen_t(MemoryLayout<tcp_info>.size)
            #expect(getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &information, &length) == 0)
            // Of a listener: the longest queue. The system may allow fewer than 4096.
            #expect(information.tcpi_sacked > 128)
        }
    }

    @Test func descriptorsAreThoseOfTheListeners() async throws {
        try await withGateway {
            $0.listeners.append(.tcp(host: "127.0.0.1", port: 0))
        } _: { gateway, port in
            let descriptors = await gateway.descriptors().compactMap(\.self)
            #expect(descriptors.count == 2)
            var address = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let result = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptors[0], $0, &length) }
            }
            #expect(result == 0 && Int(UInt16(bigEndian: address.sin_port)) == port)
        }
    }
}
