import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// What callers and workers see when the other side refuses, fails, is late or vanishes.
@Suite struct TCPFailureTests {
    private func code(_ body: () async throws -> Void) async -> RequestPlaneError.Code? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? RequestPlaneError)?.code
        }
    }

    // MARK: Refusals

    @Test func handlerRefuses() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(handler: { _ in
                throw RemoteError(kind: .invalidArgument, message: "n is missing")
            })
            let error = await #expect(throws: RequestPlaneError.self) { try await loopback.send("{}", to: instance) }
            #expect(error?.code == .remote)
            #expect(error?.message.contains("n is missing") == true)
            try await eventually("the request has ended") { loopback.manager.server.inFlight == 0 }
            #expect(loopback.manager.statistics.first?.errors == 1)
        }
    }

    @Test func handlerFailsInMidStream() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(
                handler: { _ in
                    AsyncThrowingStream { continuation in
                        continuation.yield(.data(ByteBuffer(string: "1")))
                        continuation.finish(throwing: RemoteError(kind: .resourceExhausted, message: "no memory"))
                    }
                }
            )
            let texts = try await loopback.send("{}", to: instance).texts()
            #expect(texts == ["1", "failure:ResourceExhausted: no memory"])
            try await eventually("the failure is counted") { loopback.manager.statistics.first?.errors == 1 }
        }
    }

    @Test func unknownEndpoint() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(handler: items { _ in [.data(ByteBuffer(string: "1"))] })
            var wrong = instance
            wrong.transport = .tcp(instance.transport.value + "x")
            #expect(await self.code { _ = try await loopback.send("{}", to: wrong) } == .unknownEndpoint)
            await loopback.manager.server.unregister(instance.endpoint)
            #expect(await self.code { _ = try await loopback.send("{}", to: instance) } == .unknownEndpoint)
        }
    }

    @Test func tooLargeIsRefusedBeforeSending() async throws {
        try await Loopback.run({ $0.tcp.maximumMessageSize = 4096 }) { loopback in
            let instance = try await loopback.serve(handler: items { _ in [.data(ByteBuffer(string: "1"))] })
            let big = "\"" + String(repeating: "x", count: 4096) + "\""
            #expect(await self.code { _ = try await loopback.send(big, to: instance) } == .tooLarge)
            #expect(try await loopback.send("{}", to: instance).texts() == ["1"])
        }
    }

    @Test func overload() async throws {
        try await Loopback.run({ $0.tcp.maximumInFlight = 1 }) { loopback in
            let endless = EndlessHandler(pause: .seconds(3600))
            let instance = try await loopback.serve(handler: endless.handler)
            let first = try await loopback.send("{}", to: instance)
            #expect(await self.code { _ = try await loopback.send("{}", to: instance) } == .overloaded)
            withExtendedLifetime(first) {}
        }
    }

    // MARK: Reaching the worker

    @Test func nobodyListens() async throws {
        try await Loopback.run { loopback in
            let instance = try await RawSocket.listen { $0.instance }
            for _ in 0..<3 {
                #expect(await self.code { _ = try await loopback.send("{}", to: instance) } == .connectFailed)
            }
        }
    }

    @Test func serverComesBack() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(handler: items { _ in [.data(ByteBuffer(string: "1"))] })
            _ = try await loopback.send("{}", to: instance).texts()
            let other = try await RawSocket.listen { listener in
                #expect(
                    await self.code {
                        async let answer = loopback.send("{}", to: listener.instance)
                        try await listener.connection(0).close()
                        _ = try await answer
                    } == .connectFailed
                )
                return listener.instance
            }
            #expect(await self.code { _ = try await loopback.send("{}", to: other) } == .connectFailed)
            #expect(try await loopback.send("{}", to: instance).texts() == ["1"])
        }
    }

    /// A server may close a connection after an acknowledgement; the next request must not suffer.
    @Test func connectionThatWasClosedWhileIdleIsReplaced() async throws {
        try await Loopback.run { loopback in
            try await RawSocket.listen { listener in
                var refusal = ByteBuffer()
                refusal.writeTCPAcknowledgement(.refused("no"))
                for number in 0..<5 {
                    async let code = self.code { _ = try await loopback.send("{}", to: listener.instance) }
                    let socket = try await listener.connection(number)
                    try await socket.waitForBytes(100)
                    try await socket.send(refusal)
                    try await socket.close()
                    let result = await code
                    #expect(result == .remote)
                }
            }
        }
    }

    /// The acknowledgement is lost, but the worker has called home.
    @Test func callHomeCountsMoreThanTheAcknowledgement() async throws {
        try await Loopback.run { loopback in
            try await RawSocket.listen { listener in
                let caller = Task { try await loopback.send("{}", to: listener.instance) }
                let request = try await listener.connection(0)
                try await request.waitForBytes(100)
                let address = try callHomeAddress(of: request)
                let home = try await RawSocket.connect(to: address.address)
                try await home.send(Handshake(subject: address.subject).encoded)
                try await home.send(Prologue.accepted.encoded)
                let stream = try await caller.value
                try await request.reset()
                var bytes = self.item("1")
                bytes.writeFinalFrame()
                try await home.send(bytes)
                #expect(try await stream.texts() == ["1"])
            }
        }
    }

    @Test(arguments: ["", "127.0.0.1:80", "127.0.0.1/x", "host:port/x", "127.0.0.1:70000/x", ":1/x"])
    func badAddress(_ address: String) async throws {
        try await Loopback.run { loopback in
            let instance = Instance(endpoint: loopback.endpoint, id: InstanceID(rawValue: 1), transport: .tcp(address))
            #expect(await self.code { _ = try await loopback.send("{}", to: instance) } == .connectFailed)
        }
    }

    @Test func noAcknowledgement() async throws {
        try await Loopback.run({ $0.tcp.requestTimeout = .milliseconds(200) }) { loopback in
            try await RawSocket.listen { listener in
                #expect(await self.code { _ = try await loopback.send("{}", to: listener.instance) } == .timedOut)
                try await listener.connection(0).waitForClose()
            }
        }
    }

    @Test func noCallHome() async throws {
        try await Loopback.run({ $0.responseStream.callHomeTimeout = .milliseconds(200) }) { loopback in
            try await RawSocket.listen { listener in
                async let code = self.code { _ = try await loopback.send("{}", to: listener.instance) }
                try await listener.connection(0).send(ByteBuffer(integer: UInt32(0)))
                let result = await code
                #expect(result == .timedOut)
            }
        }
    }

    @Test func hostThatClosesEveryConnection() async throws {
        try await Loopback.run { loopback in
            try await RawSocket.listen { listener in
                let caller = Task { _ = try await loopback.send("{}", to: listener.instance) }
                try await listener.connection(0).reset()
                let error = await #expect(throws: RequestPlaneError.self) { try await caller.value }
                #expect(error?.code == .connectFailed)
                #expect(listener.accepted.count == 1, "no second attempt within the backoff")
            }
        }
    }

    @Test func refusalTextOfOldServers() async throws {
        try await Loopback.run { loopback in
            try await RawSocket.listen { listener in
                async let code = self.code { _ = try await loopback.send("{}", to: listener.instance) }
                var refusal = ByteBuffer()
                refusal.writeTCPAcknowledgement(.refused("Unknown endpoint: 1/run"))
                try await listener.connection(0).send(refusal)
                let result = await code
                #expect(result == .unknownEndpoint)
            }
        }
    }

    // MARK: A worker that misbehaves

    /// Plays a worker up to its call-home connection.
    private func withFakeWorker(
        _ loopback: Loopback,
        _ body: @escaping @Sendable (RawSocket, CallHomeAddress) async throws -> Void
    ) async throws -> [String] {
        try await RawSocket.listen { listener in
            async let texts = loopback.send("{}", to: listener.instance).texts()
            let request = try await listener.connection(0)
            try await request.waitForBytes(100)
            let address = try callHomeAddress(of: request)
            try await request.send(ByteBuffer(integer: UInt32(0)))
            try await body(try await RawSocket.connect(to: address.address), address)
            return try await texts
        }
    }

    private func item(_ text: String) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeItemFrame(.data(ByteBuffer(string: text)))
        return buffer
    }

    @Test func workerVanishesAtEachState() async throws {
        try await Loopback.run { loopback in
            let steps: [ByteBuffer] = [Prologue.accepted.encoded, self.item("1"), self.item("2")]
            for count in 0...steps.count {
                for reset in [false, true] {
                    let code = await self.code {
                        _ = try await self.withFakeWorker(loopback) { socket, address in
                            try await socket.send(Handshake(subject: address.subject).encoded)
                            for step in steps.prefix(count) { try await socket.send(step) }
                            if reset { try await socket.reset() } else { try await socket.close() }
                        }
                    }
                    #expect(code == .streamEndedEarly, "after \(count) steps, reset \(reset)")
                }
            }
        }
    }

    @Test func finalWithoutSentinelIsSuccess() async throws {
        try await Loopback.run { loopback in
            let texts = try await self.withFakeWorker(loopback) { socket, address in
                var bytes = Handshake(subject: address.subject).encoded
                bytes.writeImmutableBuffer(Prologue.accepted.encoded)
                bytes.writeImmutableBuffer(self.item("1"))
                bytes.writeFinalFrame()
                try await socket.send(bytes)
                try await socket.close()
            }
            #expect(texts == ["1"])
        }
    }

    @Test func callerClosesAfterTheSentinel() async throws {
        try await Loopback.run { loopback in
            _ = try await self.withFakeWorker(loopback) { socket, address in
                var bytes = Handshake(subject: address.subject).encoded
                bytes.writeImmutableBuffer(Prologue.accepted.encoded)
                bytes.writeFinalFrame()
                bytes.writeImmutableBuffer(ControlFrame.sentinel.encoded)
                for piece in 0..<bytes.readableBytes {
                    try await socket.send(try #require(bytes.getSlice(at: piece, length: 1)))
                }
                try await socket.waitForClose()
            }
        }
    }

    @Test func violationIsKilled() async throws {
        try await Loopback.run { loopback in
            let code = await self.code {
                _ = try await self.withFakeWorker(loopback) { socket, address in
                    try await socket.send(Handshake(subject: address.subject).encoded)
                    try await socket.send(self.item("1"))
                    try await socket.waitForClose()
                    #expect(socket.messages.map(ControlFrame.init) == [.kill])
                }
            }
            #expect(code == .protocolViolation)
        }
    }

    @Test func oversizedItemIsRefused() async throws {
        try await Loopback.run({ $0.responseStream.maximumItemSize = 1000 }) { loopback in
            let code = await self.code {
                _ = try await self.withFakeWorker(loopback) { socket, address in
                    var bytes = Handshake(subject: address.subject).encoded
                    bytes.writeImmutableBuffer(Prologue.accepted.encoded)
                    bytes.writeTwoPartPreamble(headerSize: 0, bodySize: Int.max / 2)
                    try await socket.send(bytes)
                    try await socket.waitForClose()
                }
            }
            #expect(code == .protocolViolation)
        }
    }

    @Test func strangersDoNotHarmARequest() async throws {
        try await Loopback.run { loopback in
            try await RawSocket.listen { listener in
                let caller = Task { try await loopback.send("{}", to: listener.instance) }
                let request = try await listener.connection(0)
                try await request.waitForBytes(100)
                let address = try callHomeAddress(of: request)
                let garbage = [
                    ByteBuffer(string: "GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n"),
                    Handshake(subject: "unknown").encoded,
                    Handshake(subject: address.subject, streamType: "request").encoded,
                    ByteBuffer(repeating: 0xFF, count: 24), self.item("1"),
                ]
                for bytes in garbage {
                    let stranger = try await RawSocket.connect(to: address.address)
                    try await stranger.send(bytes)
                    try await stranger.waitForClose()
                }
                let half = try await RawSocket.connect(to: address.address)
                try await half.send(ByteBuffer(bytes: [0, 0, 0]))
                try await half.close()

                let home = try await RawSocket.connect(to: address.address)
                var bytes = Handshake(subject: address.subject).encoded
                bytes.writeImmutableBuffer(Prologue.accepted.encoded)
                try await home.send(bytes)
                let stream = try await caller.value
                // A second connection for the same subject.
                let second = try await RawSocket.connect(to: address.address)
                try await second.send(Handshake(subject: address.subject).encoded)
                try await second.waitForClose()

                var rest = self.item("1")
                rest.writeFinalFrame()
                try await home.send(rest)
                #expect(try await stream.texts() == ["1"])
            }
        }
    }

    @Test func silentConnectionToTheCallHomePortIsDropped() async throws {
        try await Loopback.run({ $0.responseStream.handshakeTimeout = .milliseconds(300) }) { loopback in
            try await RawSocket.listen { listener in
                let caller = Task { _ = try await loopback.send("{}", to: listener.instance) }
                let request = try await listener.connection(0)
                try await request.waitForBytes(100)
                let silent = try await RawSocket.connect(to: try callHomeAddress(of: request).address)
                try await silent.waitForClose()
                caller.cancel()
                await #expect(throws: RequestPlaneError.self) { try await caller.value }
            }
        }
    }
}
