import NIOCore
import NIOPosix
import RequestPlane
import Synchronization
import TestSupport

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A TCP connection without any protocol: plays a peer that misbehaves.
final class RawSocket: Sendable {
    let channel: any Channel
    private let state = Mutex((received: ByteBuffer(), isClosed: false))

    private init(_ channel: any Channel) { self.channel = channel }

    var received: ByteBuffer { self.state.withLock { $0.received } }

    var isClosed: Bool { self.state.withLock { $0.isClosed } }

    static func connect(port: Int, autoRead: Bool = true) async throws -> RawSocket {
        let made = Mutex<RawSocket?>(nil)
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.autoRead, value: autoRead)
            .channelInitializer { channel in
                let socket = RawSocket(channel)
                made.withLock { $0 = socket }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Recorder(socket))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return made.withLock { $0 } ?? RawSocket(channel)
    }

    static func connect(to address: String, autoRead: Bool = true) async throws -> RawSocket {
        let port = Int(address.split(separator: ":").last?.prefix { $0.isNumber } ?? "") ?? 0
        return try await self.connect(port: port, autoRead: autoRead)
    }

    func send(_ bytes: ByteBuffer) async throws { try await self.channel.writeAndFlush(bytes) }

    func send(_ text: String) async throws { try await self.send(ByteBuffer(string: text)) }

    func close() async throws { try await self.channel.close() }

    /// Closes so that the peer sees a reset.
    func reset() async throws {
        if let options = self.channel as? any SocketOptionProvider {
            try await options.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        }
        try await self.channel.close()
    }

    func waitForBytes(_ count: Int) async throws {
        try await eventually("\(count) bytes have arrived") { self.received.readableBytes >= count }
    }

    func waitForClose() async throws {
        try await eventually("the peer has closed") { self.isClosed }
    }

    /// The whole response-stream frames that have arrived.
    var messages: [TwoPartMessage] {
        var decoder = TwoPartDecoder(maximumHeaderSize: 1 << 20, maximumBodySize: 1 << 26)
        decoder.append(self.received)
        var messages: [TwoPartMessage] = []
        while let message = try? decoder.next() { messages.append(message) }
        return messages
    }

    fileprivate final class Recorder: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        let socket: RawSocket

        init(_ socket: RawSocket) { self.socket = socket }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = self.unwrapInboundIn(data)
            self.socket.state.withLock { _ = $0.received.writeImmutableBuffer(bytes) }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        func channelInactive(context: ChannelHandlerContext) { self.socket.state.withLock { $0.isClosed = true } }
    }

    /// Listens on loopback for the duration of the body.
    static func listen<Result>(
        port: Int = 0,
        autoRead: Bool = true,
        _ body: (Listener) async throws -> Result
    ) async throws -> Result {
        let listener = Listener()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.autoRead, value: autoRead)
            .childChannelInitializer { channel in
                let socket = RawSocket(channel)
                listener.sockets.withLock { $0.append(socket) }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Recorder(socket))
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        listener.channel.withLock { $0 = channel }
        listener.portValue.store(channel.localAddress?.port ?? 0, ordering: .relaxed)
        do {
            let result = try await body(listener)
            await listener.stop()
            for socket in listener.accepted where !socket.isClosed { try? await socket.close() }
            return result
        } catch {
            await listener.stop()
            throw error
        }
    }

    /// What was accepted.
    final class Listener: Sendable {
        fileprivate let sockets = Mutex<[RawSocket]>([])
        fileprivate let portValue = Atomic(0)
        fileprivate let channel = Mutex<(any Channel)?>(nil)

        /// Refuses new connections; those that were accepted stay.
        func stop() async { try? await self.channel.withLock { $0 }?.close() }

        var port: Int { self.portValue.load(ordering: .relaxed) }

        var accepted: [RawSocket] { self.sockets.withLock { $0 } }

        /// The next connection, counted from zero.
        func connection(_ index: Int) async throws -> RawSocket {
            try await eventually("connection \(index) was accepted") { self.accepted.count > index }
            return self.accepted[index]
        }

        /// An instance that is played by this listener.
        var instance: Instance {
            Instance(
                endpoint: EndpointID(namespace: "test", component: "fake", name: "run"),
                id: InstanceID(rawValue: 1),
                transport: .tcp("127.0.0.1:\(self.port)/1/run")
            )
        }
    }
}

/// A request as a real caller of a release writes it, with the call-home address of a test.
func requestFrame(
    path: String,
    address: String,
    subject: String = "subject-1",
    id: String = "id-1",
    context: String? = nil,
    codec: String? = nil,
    body: String = #"{"n":2}"#
) throws -> ByteBuffer {
    let info = CallHomeAddress(address: address, subject: subject, context: context ?? id)
    let control = ControlHeader(id: id, info: info.encode(), payloadCodec: codec)
    let encoded = try EncodedTCPRequest(path: path, headers: [:], control: control, body: ByteBuffer(string: body))
    var frame = encoded.head
    frame.writeImmutableBuffer(encoded.body)
    return frame
}

/// Where a request frame wants its answer.
func callHomeAddress(of socket: RawSocket) throws -> CallHomeAddress {
    var decoder = TCPRequestDecoder(limit: 1 << 26)
    decoder.append(socket.received)
    guard let frame = try decoder.next() else { throw WireError.malformed("no whole request frame") }
    return try CallHomeAddress(info: ControlHeader(TwoPartMessage(payload: frame.payload).header).info)
}
