import KVEvents
import NIOCore
import TestSupport
import Testing

@Suite struct ZMQThreadTests {
    private func frames(_ texts: String...) -> [ByteBuffer] { texts.map { ByteBuffer(string: $0) } }

    @Test func `messages of several frames reach subscribers of their topic in order`() async throws {
        let thread = try ZMQThread()
        let received = Recorded<[[ByteBuffer]]>([])
        let connected = Recorded(0)
        let publisher = try await thread.open(ZMQSocketOptions(.publisher, .bind("tcp://127.0.0.1:*"))) { _ in }
        #expect(publisher.endpoint.hasPrefix("tcp://127.0.0.1:"))
        let options = ZMQSocketOptions(.subscriber(topics: ["a"]), .connect(publisher.endpoint))
        let subscriber = try await thread.open(options) { event in
            switch event {
            case .message(let frames): received.value.append(frames)
            case .connected: connected.value += 1
            default: break
            }
        }
        try await eventually("a message arrives") {
            try publisher.socket.send(self.frames("a", "first"))
            return !received.value.isEmpty
        }
        for number in 0..<500 {
            try publisher.socket.send(self.frames("a", "\(number)", ""))
            try publisher.socket.send(self.frames("b", "\(number)"))
        }
        try await eventually("all arrive") { received.value.count { $0.count == 3 } == 500 }
        let numbers = received.value.filter { $0.count == 3 }.map { String(buffer: $0[1]) }
        #expect(numbers == (0..<500).map { "\($0)" })
        #expect(received.value.allSatisfy { String(buffer: $0[0]) == "a" })
        #expect(connected.value == 1)
        subscriber.socket.close()
        await thread.shutdown()
    }

    @Test func `messages with too many frames are refused, and the next one is read`() async throws {
        let thread = try ZMQThread()
        let events = Recorded<[ZMQSocketEvent]>([])
        let publisher = try await thread.open(ZMQSocketOptions(.publisher, .bind("tcp://127.0.0.1:*"))) { _ in }
        let options = ZMQSocketOptions(.subscriber(topics: [""]), .connect(publisher.endpoint))
        _ = try await thread.open(options) { events.value.append($0) }
        try await eventually("both kinds arrive") {
            try publisher.socket.send(Array(repeating: ByteBuffer(string: "x"), count: 40))
            try publisher.socket.send(self.frames("last"))
            return events.value.contains(.refused(frames: 40)) && events.value.contains(.message(self.frames("last")))
        }
        await thread.shutdown()
    }

    @Test func `errors name the endpoint and what to do`() async throws {
        let thread = try ZMQThread()
        let first = try await thread.open(ZMQSocketOptions(.publisher, .bind("tcp://127.0.0.1:*"))) { _ in }
        let taken = await #expect(throws: ZMQError.self) {
            try await thread.open(ZMQSocketOptions(.publisher, .bind(first.endpoint))) { _ in }
        }
        #expect(taken?.code == .addressInUse)
        #expect(taken?.endpoint == first.endpoint)
        #expect(taken?.message.contains(first.endpoint) == true)
        for bad in ["", "nonsense", "tcp://", "quic://127.0.0.1:1", "tcp://127.0.0.1:port"] {
            let error = await #expect(throws: ZMQError.self, "\(bad)") {
                try await thread.open(ZMQSocketOptions(.dealer, .connect(bad))) { _ in }
            }
            #expect(error?.code == .invalidArgument, "\(bad): \(String(describing: error))")
        }
        await thread.shutdown()
    }

    @Test func `a lost connection is told and made again`() async throws {
        let thread = try ZMQThread()
        let other = try ZMQThread()
        let events = Recorded<[ZMQSocketEvent]>([])
        let first = try await other.open(ZMQSocketOptions(.publisher, .bind("tcp://127.0.0.1:*"))) { _ in }
        let options = ZMQSocketOptions(.subscriber(topics: [""]), .connect(first.endpoint))
        _ = try await thread.open(options) { events.value.append($0) }
        try await eventually("connected") { events.value == [.connected] }
        first.socket.close()
        try await eventually("disconnected") { events.value == [.connected, .disconnected] }
        let second = Recorded<ZMQSocket?>(nil)
        try await eventually("bound again") {
            second.value = try? await other.open(ZMQSocketOptions(.publisher, .bind(first.endpoint))) { _ in }.socket
            return second.value != nil
        }
        try await eventually("connected again") { events.value == [.connected, .disconnected, .connected] }
        await thread.shutdown()
        await other.shutdown()
    }

    @Test func `what waits to be sent is bounded`() async throws {
        let thread = try ZMQThread()
        let options = ZMQSocketOptions(.publisher, .bind("tcp://127.0.0.1:*"), maximumQueuedMessages: 10)
        let publisher = try await thread.open(options) { _ in }
        let isStopped = Recorded(true)
        // A handler that does not return stands for a thread that is behind.
        thread.schedule(after: .zero) { while isStopped.value {} }
        let error = #expect(throws: ZMQError.self) {
            for _ in 0..<10_000 { try publisher.socket.send(self.frames("x")) }
        }
        isStopped.value = false
        #expect(error?.code == .overloaded)
        await thread.shutdown()
    }

    @Test func `after the end nothing is taken and nobody waits`() async throws {
        let thread = try ZMQThread()
        let publisher = try await thread.open(ZMQSocketOptions(.publisher, .bind("tcp://127.0.0.1:*"))) { _ in }
        await thread.shutdown()
        await thread.shutdown()
        let sent = #expect(throws: ZMQError.self) { try publisher.socket.send(self.frames("x")) }
        #expect(sent?.code == .closed)
        let opened = await #expect(throws: ZMQError.self) {
            try await thread.open(ZMQSocketOptions(.publisher, .bind(publisher.endpoint))) { _ in }
        }
        #expect(opened?.code == .closed)
        publisher.socket.close()
        thread.schedule(after: .zero) { Issue.record("called after the end") }
        // The port is free again.
        let other = try ZMQThread()
        _ = try await other.open(ZMQSocketOptions(.publisher, .bind(publisher.endpoint))) { _ in }
        await other.shutdown()
    }
}
