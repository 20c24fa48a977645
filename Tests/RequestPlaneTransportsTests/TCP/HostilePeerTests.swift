import NIOCore
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Peers that send garbage, half a frame, huge lengths or a byte now and then: they cost nothing but themselves.
@Suite struct HostilePeerTests {
    /// Memory of this process, in bytes.
    private func residentBytes() throws -> Int {
        let file = try #require(fopen("/proc/self/statm", "r"))
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        try #require(fgets(&line, CInt(line.count), file) != nil)
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let pages = try #require(Int(text.split(separator: " ")[1]))
        return pages * Int(getpagesize())
    }

    private static func address(_ instance: Instance) -> String {
        String(instance.transport.value.split(separator: "/")[0])
    }

    /// The beginning of a request frame whose payload is announced as 4 GB.
    private static let hugeRequest = ByteBuffer(bytes: [0, 1, 0x61, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF])

    /// The preamble of a response-stream frame that announces sizes.
    private static func preamble(header: UInt64, body: UInt64) -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeMultipleIntegers(header, body, UInt64(0))
        return bytes
    }

    @Test func crowdOfBadPeersHarmsNobody() async throws {
        try await Loopback.run { loopback in
            let instance = try await loopback.serve(handler: counting(to: 2))
            #expect(try await loopback.send("{}", to: instance).texts() == ["0", "1"])
            let home = try await self.callHomePort(loopback)
            var request = try requestFrame(path: "x", address: "127.0.0.1:1")
            let half = request.readSlice(length: request.readableBytes / 2) ?? ByteBuffer()
            let garbage = ByteBuffer(bytes: (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 131 &+ 7) })
            let before = try self.residentBytes()
            var sockets: [RawSocket] = []
            for _ in 0..<40 {
                for bytes in [Self.hugeRequest, half, garbage] {
                    let socket = try await RawSocket.connect(to: Self.address(instance))
                    try await socket.send(bytes)
                    sockets.append(socket)
                }
                for bytes in [
                    Self.preamble(header: 0xFFFF_FFFF, body: 0), Self.preamble(header: 60_000, body: 0),
                    Self.preamble(header: 10, body: .max), garbage,
                ] {
                    let socket = try await RawSocket.connect(to: home)
                    // A port that resets at once may be faster than the write.
                    try? await socket.send(bytes)
                    sockets.append(socket)
                }
            }
            for number in 0..<20 {
                #expect(try await loopback.send("{}", to: instance, id: "r\(number)").texts() == ["0", "1"])
            }
            let after = try self.residentBytes()
            #expect(after - before < 48 * 1024 * 1024)
            for socket in sockets where !socket.isClosed { try? await socket.close() }
        }
    }

    /// Where workers call home to, learnt from a request.
    private func callHomePort(_ loopback: Loopback) async throws -> String {
        try await RawSocket.listen { listener in
            let call = Task { _ = try await loopback.send("{}", to: listener.instance) }
            let socket = try await listener.connection(0)
            try await eventually("the request has arrived") { (try? callHomeAddress(of: socket)) != nil }
            call.cancel()
            _ = await call.result
            return try callHomeAddress(of: socket).address
        }
    }

    @Test func itemOfAnnouncedSizeTakesOnlyWhatWasReceived() async throws {
        try await Loopback.run { loopback in
            try await RawSocket.listen { listener in
                let before = try self.residentBytes()
                var calls: [Task<Void, any Error>] = []
                var workers: [RawSocket] = []
                for number in 0..<50 {
                    calls.append(
                        Task {
                            for try await _ in try await loopback.send("{}", to: listener.instance, id: "r\(number)") {}
                        }
                    )
                }
                let request = try await listener.connection(0)
                var decoder = TCPRequestDecoder(limit: 1 << 26)
                var seen = 0
                var frames = 0
                try await eventually("all requests have arrived") {
                    let received = request.received
                    decoder.append(received.getSlice(at: seen, length: received.writerIndex - seen) ?? ByteBuffer())
                    seen = received.writerIndex
                    while let frame = try decoder.next() {
                        frames += 1
                        let message = try TwoPartMessage(payload: frame.payload)
                        let address = try CallHomeAddress(info: ControlHeader(message.header).info)
                        let socket = try await RawSocket.connect(to: address.address)
                        var bytes = Handshake(subject: address.subject).encoded
                        bytes.writeImmutableBuffer(Prologue.accepted.encoded)
                        bytes.writeImmutableBuffer(Self.preamble(header: 0, body: 200 * 1024 * 1024))
                        try await socket.send(bytes)
                        try await socket.send(String(repeating: "x", count: 1000))
                        workers.append(socket)
                    }
                    return frames == 50
                }
                let after = try self.residentBytes()
                #expect(after - before < 48 * 1024 * 1024)
                for call in calls { call.cancel() }
                for worker in workers { try await worker.waitForClose() }
            }
        }
    }

    @Test func frameThatStopsToGrowIsGivenUp() async throws {
        try await Loopback.run({ $0.tcp.partialFrameTimeout = .milliseconds(500) }) { loopback in
            let instance = try await loopback.serve(handler: counting(to: 1))
            let address = Self.address(instance)
            let idle = try await RawSocket.connect(to: address)
            let used = try await RawSocket.connect(to: address)
            try await used.send(try requestFrame(path: "nowhere", address: "127.0.0.1:1", codec: "json"))
            let slow = try await RawSocket.connect(to: address)
            let half = try await RawSocket.connect(to: address)
            try await half.send(ByteBuffer(bytes: [0, 9]))
            var bytes = try requestFrame(path: "nowhere", address: "127.0.0.1:1", codec: "json")
            let start = ContinuousClock.now
            // A byte now and then is progress, for longer than a silent half of a frame is kept.
            var last = start
            while ContinuousClock.now - start < .milliseconds(1500) {
                try await slow.send(bytes.readSlice(length: 1) ?? ByteBuffer())
                try await eventually("time passes") { ContinuousClock.now - last > .milliseconds(100) }
                last = .now
            }
            try await half.waitForClose()
            #expect(String(buffer: half.received).contains("did not grow"))
            try await slow.send(bytes)
            try await slow.waitForBytes(4)
            #expect(!idle.isClosed && !used.isClosed && !slow.isClosed)
        }
    }
}
