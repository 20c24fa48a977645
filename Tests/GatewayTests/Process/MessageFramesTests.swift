import Gateway
import Logging
import NIOCore
import Testing

/// The language between a launcher and a gateway in another process.
@Suite struct MessageFramesTests {
    private static let backend = Backend(id: "frontend-0", generation: 2, host: "::1", port: 4711)

    private static let commands: [GatewayCommand] = [
        .setTraffic(GatewayTraffic(backends: [Self.backend], shares: [1: 25, 2: 75])),
        .setTraffic(GatewayTraffic(backends: [], shares: nil)), .keepSocketFiles, .drain(within: .milliseconds(1500)),
        .pause(ifIdleFor: .seconds(1800)), .waitUntilBackendIsIdle(Self.backend, within: .seconds(30)),
        .waitUntilGenerationIsIdle(2, within: .zero), .figures(generation: 1), .idleTime, .status,
    ]

    private static func figures() -> TrafficFigures {
        var figures = TrafficFigures()
        (figures.requests, figures.errors, figures.inFlight) = (7, 2, 1)
        for milliseconds in [1, 5, 2000] { figures.firstToken.record(.milliseconds(Int64(milliseconds))) }
        return figures
    }

    private static func messages() -> [GatewayMessage] {
        var configuration = GatewayConfiguration(
            listeners: [
                .tcp(host: "0.0.0.0", port: 8000, tls: GatewayTLS(certificatePath: "/c", keyPath: "/k")),
                .unix(path: "/run/x", mode: 0o600), .inherited(descriptor: 9, name: "public"),
            ]
        )
        configuration.limits.writeTimeout = .milliseconds(250)
        var status = GatewayStatus()
        (status.heldRequests, status.inFlight, status.refusals) = (1, 2, ["closing": 3])
        return [
            .hello(
                GatewayHello(
                    processID: 12,
                    addresses: ["http://0.0.0.0:8000"],
                    identity: configuration.identity,
                    traffic: GatewayTraffic(backends: [Self.backend], shares: nil),
                    isDraining: false
                )
            ),
            .answer(id: 1, .done(true)), .answer(id: .max, .figures(Self.figures())),
            .answer(id: 3, .idleTime(.microseconds(1500))), .answer(id: 4, .status(status)),
            .log(GatewayLogLine(.warning, "a backend failed", ["reason": "\"quoted\"\n"])),
        ]
    }

    @Test func `every command and every message is read as it was written, however it is cut`() throws {
        let calls = Self.commands.enumerated().map { GatewayCall(id: UInt64($0.offset), command: $0.element) }
        for size in [1, 3, 4, 5, 64, 1 << 20] {
            #expect(try Self.read(GatewayCall.self, calls.map(MessageFrames.encode), inPiecesOf: size) == calls)
            let messages = Self.messages()
            #expect(
                try Self.read(GatewayMessage.self, messages.map(MessageFrames.encode), inPiecesOf: size) == messages
            )
        }
    }

    private static func read<Message: Decodable>(
        _ type: Message.Type,
        _ encoded: [ByteBuffer],
        inPiecesOf size: Int
    ) throws -> [Message] {
        var frames = MessageFrames()
        var all = ByteBuffer(bytes: encoded.flatMap { Array($0.readableBytesView) })
        var read: [Message] = []
        while let piece = all.readSlice(length: min(size, all.readableBytes)), piece.readableBytes > 0 {
            frames.append(piece)
            while let message = try frames.next(type) { read.append(message) }
        }
        return read
    }

    @Test func `what is no message is refused, and so is one that is too long`() throws {
        var frames = MessageFrames()
        frames.append(ByteBuffer(bytes: [0, 0, 0, 2, UInt8(ascii: "{"), UInt8(ascii: "]")]))
        #expect(throws: MessageFrames.Malformed.self) { try frames.next(GatewayCall.self) }
        frames = MessageFrames()
        frames.append(ByteBuffer(bytes: [0xff, 0, 0, 0]))
        #expect(throws: MessageFrames.Malformed.self) { try frames.next(GatewayCall.self) }
    }

    @Test func `two configurations are the same one, whatever the numbers of the sockets`() {
        func identity(_ descriptor: Int32, _ name: String = "public") -> GatewayConfiguration {
            GatewayConfiguration(listeners: [.inherited(descriptor: descriptor, name: name)]).identity
        }
        #expect(identity(3) == identity(7))
        #expect(identity(3) != identity(3, "other"))
    }
}
