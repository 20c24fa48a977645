import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A connection to a gateway in another process that has just been made.
struct GatewayGreeting: Sendable {
    /// Nothing was read of it but the hello.
    let connection: Int32
    let hello: GatewayHello
    /// Copies of the sockets that it listens on.
    let listeners: [Int32]
    /// The process at the other end, as the system knows it.
    let processID: Int32

    /// How long a process may take for its hello.
    private static let patience = 5

    /// Connects; blocks its thread, for seconds if the other side is stopped.
    ///
    /// - Parameter path: of the control socket.
    /// - Returns: nil when no gateway listens there.
    static func connect(to path: String) -> GatewayGreeting? {
        guard let address = try? SocketAddress(unixDomainSocketPath: path) else { return nil }
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var limit = timeval(tv_sec: self.patience, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        guard address.withSockAddr({ self.connect(descriptor, $0, socklen_t($1)) }) == 0,
            let peer = DescriptorPassing.peer(of: descriptor), peer.userID == geteuid() || peer.userID == 0,
            let listeners = DescriptorPassing.receive(from: descriptor)
        else {
            GatewayListening.close(descriptor)
            return nil
        }
        guard let hello = self.hello(from: descriptor) else {
            for listener in listeners { GatewayListening.close(listener) }
            GatewayListening.close(descriptor)
            return nil
        }
        return GatewayGreeting(
            connection: descriptor,
            hello: hello,
            listeners: listeners,
            processID: peer.processID
        )
    }

    /// Closes everything of it.
    func close() {
        for listener in self.listeners { GatewayListening.close(listener) }
        GatewayListening.close(self.connection)
    }

    /// Says something, without waiting for an answer.
    func send(_ command: GatewayCommand) {
        let bytes = MessageFrames.encode(GatewayCall(id: 0, command: command))
        // A short text always fits.
        bytes.withUnsafeReadableBytes { _ = Self.send(self.connection, $0.baseAddress, $0.count) }
    }

    /// Has something done; blocks its thread, for seconds if the other side is stopped.
    ///
    /// - Returns: whether it was done.
    func ask(_ command: GatewayCommand) -> Bool {
        self.send(command)
        // What it logs comes too.
        while let message = Self.message(from: self.connection) {
            if case .answer(_, let answer) = message { return answer == .done(true) }
        }
        return false
    }

    private static func hello(from socket: Int32) -> GatewayHello? {
        guard case .hello(let hello)? = self.message(from: socket) else { return nil }
        return hello
    }

    /// Reads not a byte more than one message.
    private static func message(from socket: Int32) -> GatewayMessage? {
        guard let head = self.read(4, from: socket) else { return nil }
        let length = head.reduce(0) { $0 << 8 | Int($1) }
        guard length <= MessageFrames.largest, let text = self.read(length, from: socket) else { return nil }
        var frames = MessageFrames()
        frames.append(ByteBuffer(bytes: head + text))
        return try? frames.next(GatewayMessage.self)
    }

    private static func read(_ count: Int, from socket: Int32) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let size = bytes.withUnsafeMutableBytes {
                recv(socket, $0.baseAddress?.advanced(by: done), count - done, 0)
            }
            if size < 0, errno == EINTR { continue }
            guard size > 0 else { return nil }
            done += size
        }
        return bytes
    }

    private static func connect(_ socket: Int32, _ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> Int32 {
        #if canImport(Glibc)
        Glibc.connect(socket, address, length)
        #elseif canImport(Musl)
        Musl.connect(socket, address, length)
        #else
        Darwin.connect(socket, address, length)
        #endif
    }

    private static func send(_ socket: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
        #if canImport(Glibc)
        Glibc.send(socket, bytes, count, Int32(MSG_NOSIGNAL))
        #elseif canImport(Musl)
        Musl.send(socket, bytes, count, Int32(MSG_NOSIGNAL))
        #else
        Darwin.send(socket, bytes, count, 0)
        #endif
    }
}
