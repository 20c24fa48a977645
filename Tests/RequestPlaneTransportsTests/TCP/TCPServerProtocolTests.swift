import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

/// The request port, as real and as hostile callers see it.
@Suite struct TCPServerProtocolTests {
    private func withServer(
        _ configure: (inout NetworkManager.Configuration) -> Void = { _ in },
        handler: @escaping RequestHandler = counting(to: 2),
        _ body: (Loopback, _ address: String, _ path: String) async throws -> Void
    ) async throws {
        try await Loopback.run(configure) { loopback in
            let instance = try await loopback.serve(handler: handler)
            let parts = instance.transport.value.split(separator: "/", maxSplits: 1)
            try await body(loopback, String(parts[0]), String(parts[1]))
        }
    }

    private func acknowledgements(_ socket: RawSocket) -> [TCPAcknowledgement] {
        var decoder = TCPAcknowledgementDecoder(limit: 1 << 20)
        decoder.append(socket.received)
        var all: [TCPAcknowledgement] = []
        while let one = try? decoder.next() { all.append(one) }
        return all
    }

    @Test func pipelinedRequestsAreAcknowledgedInOrder() async throws {
        try await self.withServer { _, address, path in
            try await RawSocket.listen { listener in
                let home = "127.0.0.1:\(listener.port)"
                let socket = try await RawSocket.connect(to: address)
                var bytes = ByteBuffer()
                for number in 0..<10 {
                    let path = number % 3 == 1 ? "nowhere" : path
                    bytes.writeImmutableBuffer(
                        try requestFrame(
                            path: path,
                            address: home,
                            subject: "s\(number)",
                            id: "i\(number)",
                            codec: "json"
                        )
                    )
                }
                try await socket.send(bytes)
                try await eventually("ten acknowledgements") { self.acknowledgements(socket).count == 10 }
                for (number, acknowledgement) in self.acknowledgements(socket).enumerated() {
                    let expected: TCPAcknowledgement =
                        number % 3 == 1 ? .refused("Server unavailable: unknown endpoint nowhere") : .accepted
                    #expect(acknowledgement == expected)
                }
                try await eventually("seven answers") {
                    listener.accepted.count { $0.messages.last.flatMap(ControlFrame.init) == .sentinel } == 7
                }
            }
        }
    }

    /// Callers of Dynamo up to 1.2 do not look at acknowledgements, so a refusal also reaches them as an error prologue.
    @Test func refusalReachesOldCallers() async throws {
        try await self.withServer { _, address, _ in
            try await RawSocket.listen { listener in
                let home = "127.0.0.1:\(listener.port)"
                let socket = try await RawSocket.connect(to: address)
                try await socket.send(try requestFrame(path: "nowhere", address: home))
                let answer = try await listener.connection(0)
                try await eventually("three frames") { answer.messages.count == 3 }
                let messages = answer.messages
                guard case .refused(let text, _) = try Prologue(messages[1]) else {
                    Issue.record("not refused"); return
                }
                #expect(text.contains("unknown endpoint nowhere"))
                #expect(ControlFrame(messages[2]) == .sentinel)
                try await eventually("the refusal") {
                    self.acknowledgements(socket) == [.refused("Server unavailable: unknown endpoint nowhere")]
                }
            }
        }
    }

    @Test func defectsThatCanBeAnsweredAreAnswered() async throws {
        try await self.withServer { _, address, path in
            try await RawSocket.listen { listener in
                let home = "127.0.0.1:\(listener.port)"
                let socket = try await RawSocket.connect(to: address)
                let frames = [
                    try requestFrame(path: path, address: home, context: "another"),
                    try requestFrame(path: path, address: home, codec: "msgpack"),
                    try requestFrame(path: path, address: home, body: ""),
                ]
                for (index, frame) in frames.enumerated() {
                    try await socket.send(frame)
                    let answer = try await listener.connection(index)
                    try await eventually("three frames") { answer.messages.count == 3 }
                    guard case .refused = try Prologue(answer.messages[1]) else {
                        Issue.record("not refused"); continue
                    }
                }
                try await eventually("three acknowledgements") {
                    self.acknowledgements(socket) == [.accepted, .accepted, .accepted]
                }
            }
        }
    }

    @Test func defectsThatCannotBeAnsweredHarmNothing() async throws {
        try await self.withServer { loopback, address, path in
            try await RawSocket.listen { listener in
                let home = "127.0.0.1:\(listener.port)"
                let socket = try await RawSocket.connect(to: address)
                var bytes = ByteBuffer()
                for payload in ["", "short", String(repeating: "x", count: 100)] {
                    bytes.writeInteger(UInt16(path.utf8.count))
                    bytes.writeString(path)
                    bytes.writeInteger(UInt16(2))
                    bytes.writeString("{}")
                    bytes.writeInteger(UInt32(payload.utf8.count))
                    bytes.writeString(payload)
                }
                bytes.writeImmutableBuffer(try requestFrame(path: path, address: "tcp://127.0.0.1:1"))
                bytes.writeImmutableBuffer(try requestFrame(path: path, address: "127.0.0.1:1"))
                bytes.writeImmutableBuffer(try requestFrame(path: path, address: home))
                try await socket.send(bytes)
                let answer = try await listener.connection(0)
                try await eventually("the good one is answered") {
                    answer.messages.last.flatMap(ControlFrame.init) == .sentinel
                }
                try await eventually("six acknowledgements") {
                    self.acknowledgements(socket) == Array(repeating: .accepted, count: 6)
                }
                try await eventually("nothing is left") { loopback.manager.server.inFlight == 0 }
                #expect(loopback.manager.statistics.first?.errors == 5)
            }
        }
    }

    @Test func badPathKeepsTheConnection() async throws {
        try await self.withServer { _, address, _ in
            let socket = try await RawSocket.connect(to: address)
            try await socket.send(ByteBuffer(bytes: [0, 2, 0xFF, 0xFE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
            try await eventually("two refusals") { self.acknowledgements(socket).count == 2 }
            #expect(
                self.acknowledgements(socket) == [
                    .refused("Invalid endpoint path"), .refused("Server unavailable: unknown endpoint "),
                ]
            )
            #expect(!socket.isClosed)
        }
    }

    @Test func oversizeIsRefusedFromItsLengthsAndClosed() async throws {
        try await self.withServer { loopback, address, path in
            let socket = try await RawSocket.connect(to: address)
            try await socket.send(ByteBuffer(bytes: [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]))
            try await socket.waitForClose()
            #expect(
                self.acknowledgements(socket)
                    == [.refused("Read error: message too large: 4294967303 bytes (max: 33554432 bytes)")]
            )
            // Others are not disturbed.
            #expect(loopback.manager.server.inFlight == 0)
            let other = try await RawSocket.connect(to: address)
            try await other.send(ByteBuffer(bytes: [0, 0, 0, 0, 0, 0, 0, 0]))
            try await other.waitForBytes(4)
        }
    }

    @Test func exactLimitIsAccepted() async throws {
        try await self.withServer({ $0.tcp.maximumMessageSize = 2000 }) { _, address, path in
            try await RawSocket.listen { listener in
                let home = "127.0.0.1:\(listener.port)"
                let base = try requestFrame(path: path, address: home, body: "").readableBytes
                for (size, isAccepted) in [(2000, true), (2001, false)] {
                    let socket = try await RawSocket.connect(to: address)
                    try await socket.send(
                        try requestFrame(path: path, address: home, body: String(repeating: "1", count: size - base))
                    )
                    try await eventually("an acknowledgement") { self.acknowledgements(socket).count == 1 }
                    #expect((self.acknowledgements(socket) == [.accepted]) == isAccepted)
                }
            }
        }
    }

    @Test func halfFrameAndGarbageCostNothingButTheirConnection() async throws {
        try await self.withServer { loopback, address, path in
            let half = try await RawSocket.connect(to: address)
            try await half.send(ByteBuffer(bytes: [0, 5, 1]))
            try await half.close()
            let garbage = try await RawSocket.connect(to: address)
            try await garbage.send(String(repeating: "GET / HTTP/1.1\r\n", count: 10_000))
            try await RawSocket.listen { listener in
                let home = "127.0.0.1:\(listener.port)"
                let slow = try await RawSocket.connect(to: address)
                let frame = try requestFrame(path: path, address: home)
                for index in 0..<frame.readableBytes {
                    try await slow.send(try #require(frame.getSlice(at: index, length: 1)))
                }
                try await slow.waitForBytes(4)
                let answer = try await listener.connection(0)
                try await eventually("answered") { answer.messages.last.flatMap(ControlFrame.init) == .sentinel }
            }
        }
    }

    @Test func workerClosesWhenTheCallerHasClosed() async throws {
        try await self.withServer { _, address, path in
            try await RawSocket.listen { listener in
                let home = "127.0.0.1:\(listener.port)"
                let socket = try await RawSocket.connect(to: address)
                try await socket.send(try requestFrame(path: path, address: home))
                let answer = try await listener.connection(0)
                try await eventually("complete") { answer.messages.last.flatMap(ControlFrame.init) == .sentinel }
                #expect(!answer.isClosed, "the worker leaves closing to the caller")
                try await answer.channel.close(mode: .output).get()
                try await answer.waitForClose()
            }
        }
    }
}
