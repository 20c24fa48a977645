import NIOCore
import RequestPlane
import Testing

/// Damaged, cut and joined captures of real traffic, in random pieces: every decoder must end in a defined way.
///
/// The seed is fixed, so that a failure can be repeated; `rounds` is small enough for every run of the tests.
@Suite struct WireFuzzTests {
    private static let rounds = 4000

    private struct Random: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            self.state &+= 0x9E37_79B9_7F4A_7C15
            var word = self.state
            word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
            word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
            return word ^ (word >> 31)
        }
    }

    private static func seeds() throws -> [[UInt8]] {
        try Fixture.versions.flatMap { try Fixture.names(of: $0) }.map { Array(try Fixture.bytes($0).readableBytesView) }
    }

    /// Joins a few seeds and damages the result.
    private static func input(_ seeds: [[UInt8]], _ random: inout Random) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 1...4, using: &random) { bytes += seeds[Int.random(in: 0..<seeds.count, using: &random)] }
        for _ in 0..<Int.random(in: 0...4, using: &random) where !bytes.isEmpty {
            let index = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 2: bytes.removeSubrange(index..<min(bytes.count, index + Int.random(in: 1...16, using: &random)))
            case 3: bytes.insert(contentsOf: bytes[index..<min(bytes.count, index + 16)], at: index)
            default: bytes.removeLast(bytes.count - index)
            }
        }
        return bytes
    }

    private static func feed(_ bytes: [UInt8], _ random: inout Random, _ take: (ByteBuffer) -> Void) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let size = Bool.random(using: &random) ? rest.count : Int.random(in: 1...min(64, rest.count), using: &random)
            take(ByteBuffer(bytes: rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
    }

    @Test func requestConnections() throws {
        let seeds = try Self.seeds()
        var random = Random(state: 1)
        for _ in 0..<Self.rounds {
            var server = TCPServerConnection(maximumMessageSize: 4096)
            var client = TCPClientConnection(capacity: 4, maximumAcknowledgementSize: 256)
            _ = client.send(deadline: .now())
            Self.feed(Self.input(seeds, &random), &random) { bytes in
                server.append(bytes)
                while let action = server.next() {
                    guard case .dispatch(_, let frame) = action else { continue }
                    #expect(frame.encodedSize <= 4096)
                    _ = frame.decodedHeaders
                    guard let message = try? TwoPartMessage(payload: frame.payload) else { continue }
                    if let control = try? ControlHeader(message.header) { _ = try? CallHomeAddress(info: control.info) }
                }
                client.append(bytes)
                while client.next() != nil {}
            }
        }
    }

    @Test func responseStreams() throws {
        let seeds = try Self.seeds()
        var random = Random(state: 2)
        for round in 0..<Self.rounds {
            var receiver = ResponseStreamReceiver(maximumItemSize: 4096)
            var sender = ResponseStreamSender()
            if round % 2 == 0 {
                // Half of the inputs meet a stream that has begun.
                receiver.append(Handshake(subject: "s").encoded)
                _ = receiver.next()
                receiver.matched()
                receiver.append(Prologue.accepted.encoded)
                _ = receiver.next()
                _ = sender.accept()
            }
            Self.feed(Self.input(seeds, &random), &random) { bytes in
                receiver.append(bytes)
                while let action = receiver.next() {
                    if case .match = action { receiver.matched() }
                }
                _ = sender.receive(bytes)
            }
            _ = receiver.inputClosed("end")
            #expect(receiver.next() == nil)
            _ = sender.connectionClosed("end")
            #expect(sender.receive(ControlFrame.kill.encoded) == nil)
        }
    }

    @Test func text() throws {
        let seeds = try Self.seeds()
        var random = Random(state: 3)
        for _ in 0..<Self.rounds {
            let bytes = Self.input(seeds, &random)
            // The JSON parts of the captures begin at braces.
            let start = bytes.firstIndex(of: UInt8(ascii: "{")) ?? 0
            let buffer = ByteBuffer(bytes: bytes[start...])
            _ = try? JSONObject(buffer)
            _ = try? ItemFrame(buffer)
            _ = JSONObject.string(buffer)
            _ = JSONObject.strings(buffer)
            _ = RemoteError(json: buffer)
        }
    }
}
