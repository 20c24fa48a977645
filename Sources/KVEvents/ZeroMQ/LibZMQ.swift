import CZeroMQ
import Glibc
import NIOCore

/// The door to libzmq: the only file that knows its pointers.
///
/// Everything here belongs to one thread.
enum LibZMQ {
    /// Frames of a message that are kept; no message of this plane has more than four.
    static let maximumFrames = 16

    /// What a read attempt gave.
    enum Received {
        case message([ByteBuffer])
        case refused(frames: Int)
        case nothing
        case failed(ZMQError)
    }

    /// What went wrong last on this thread, in words.
    static func error(_ action: String, _ endpoint: String) -> ZMQError {
        let number = zmq_errno()
        let text = zmq_strerror(number).map { String(cString: $0) } ?? "error \(number)"
        let (code, advice): (ZMQError.Code, String) =
            switch number {
            case EADDRINUSE: (.addressInUse, "; another process is bound to it: choose another port or stop it")
            case EADDRNOTAVAIL, ENODEV: (.addressNotAvailable, "; it is no address of this machine")
            case EINVAL, EPROTONOSUPPORT, ENOCOMPATPROTO:
                (.invalidArgument, "; an endpoint looks like tcp://host:port or ipc:///path")
            case EMFILE, ENFILE, ENOMEM: (.exhausted, "; raise the limit of open files (ulimit -n) or memory")
            default: (.internalFailure, "")
            }
        return ZMQError(code, endpoint: endpoint, "ZeroMQ cannot \(action) '\(endpoint)': \(text)\(advice)")
    }
}

extension LibZMQ {
    /// The library's own threads and all sockets of one of our threads.
    final class Context {
        fileprivate let pointer: UnsafeMutableRawPointer

        init() throws(ZMQError) {
            guard let pointer = zmq_ctx_new() else { throw LibZMQ.error("start", "") }
            self.pointer = pointer
        }

        /// Waits for nothing, because all sockets are closed and none lingers.
        deinit { zmq_ctx_term(self.pointer) }
    }

    /// A socket with the watch over its connections.
    final class Socket {
        let endpoint: String
        private let context: Context
        fileprivate let pointer: UnsafeMutableRawPointer
        fileprivate let monitor: UnsafeMutableRawPointer?

        /// - Parameters:
        ///   - context: outlives the socket.
        ///   - options: what it is.
        ///   - number: unique among the sockets of the context.
        /// - Throws: `ZMQError` when an option or the endpoint is refused.
        init(_ context: Context, _ options: ZMQSocketOptions, number: UInt64) throws(ZMQError) {
            let kind =
                switch options.kind {
                case .subscriber: ZMQ_SUB
                case .publisher: ZMQ_PUB
                case .dealer: ZMQ_DEALER
                }
            let endpoint = options.attachment.endpoint
            guard let pointer = zmq_socket(context.pointer, kind) else {
                throw LibZMQ.error("make a socket for", endpoint)
            }
            var monitor: UnsafeMutableRawPointer?
            do throws(ZMQError) {
                try Self.configure(pointer, options)
                monitor = Self.watch(context, pointer, number)
                try Self.attach(pointer, options.attachment)
            } catch {
                // Both, or the end of the context waits for the one that is left.
                if let monitor { zmq_close(monitor) }
                zmq_close(pointer)
                throw error
            }
            self.monitor = monitor
            self.endpoint = Self.lastEndpoint(pointer) ?? endpoint
            self.context = context
            self.pointer = pointer
        }

        deinit {
            if let monitor { zmq_close(monitor) }
            zmq_close(self.pointer)
        }

        /// Not for literal IPv4 addresses: the library would report them in a form that nobody else understands.
        private static func mayBeIPv6(_ endpoint: String) -> Bool {
            let host = endpoint.split(separator: "://", maxSplits: 1).last ?? ""
            return host.hasPrefix("[") || host.prefix { $0 != ":" }.contains(where: \.isLetter)
        }

        private static func configure(
            _ pointer: UnsafeMutableRawPointer,
            _ options: ZMQSocketOptions
        ) throws(ZMQError) {
            let endpoint = options.attachment.endpoint
            let delay = Self.milliseconds(options.reconnectDelay)
            let longest = max(delay, Self.milliseconds(options.maximumReconnectDelay))
            let numbers: [(Int32, Int32)] = [
                // Closing waits for nobody: what a peer has not taken is not worth the stop of a process.
                (ZMQ_LINGER, 0), (ZMQ_SNDHWM, options.highWaterMark), (ZMQ_RCVHWM, options.highWaterMark),
                (ZMQ_RECONNECT_IVL, delay), (ZMQ_RECONNECT_IVL_MAX, longest), (ZMQ_TCP_KEEPALIVE, 1),
                (ZMQ_IPV6, Self.mayBeIPv6(endpoint) ? 1 : 0),
            ]
            for (option, value) in numbers {
                guard withUnsafeBytes(of: value, { zmq_setsockopt(pointer, option, $0.baseAddress, $0.count) }) == 0
                else { throw LibZMQ.error("set option \(option) of the socket for", endpoint) }
            }
            let maximum = options.maximumFrameBytes
            guard
                withUnsafeBytes(of: maximum, { zmq_setsockopt(pointer, ZMQ_MAXMSGSIZE, $0.baseAddress, $0.count) }) == 0
            else { throw LibZMQ.error("limit the frames of", endpoint) }
            guard case .subscriber(let topics) = options.kind else { return }
            for topic in topics {
                var topic = topic
                guard topic.withUTF8({ zmq_setsockopt(pointer, ZMQ_SUBSCRIBE, $0.baseAddress, $0.count) }) == 0 else {
                    throw LibZMQ.error("subscribe to a topic of", endpoint)
                }
            }
        }

        private static func milliseconds(_ delay: Duration) -> Int32 {
            let (seconds, attoseconds) = delay.components
            return Int32(clamping: max(1, seconds * 1000 + attoseconds / 1_000_000_000_000_000))
        }

        private static func attach(
            _ pointer: UnsafeMutableRawPointer,
            _ attachment: ZMQSocketOptions.Attachment
        ) throws(ZMQError) {
            switch attachment {
            case .connect(let endpoint):
                guard zmq_connect(pointer, endpoint) == 0 else { throw LibZMQ.error("connect to", endpoint) }
            case .bind(let endpoint):
                guard zmq_bind(pointer, endpoint) == 0 else { throw LibZMQ.error("bind to", endpoint) }
            }
        }

        /// Asks the library to tell about connections; a socket works without, so a failure is none.
        private static func watch(
            _ context: Context,
            _ pointer: UnsafeMutableRawPointer,
            _ number: UInt64
        ) -> UnsafeMutableRawPointer? {
            let events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED
            let place = "inproc://monitor-\(number)"
            guard zmq_socket_monitor(pointer, place, events) == 0 else { return nil }
            guard let monitor = zmq_socket(context.pointer, ZMQ_PAIR) else { return nil }
            var linger: Int32 = 0
            zmq_setsockopt(monitor, ZMQ_LINGER, &linger, MemoryLayout<Int32>.size)
            guard zmq_connect(monitor, place) == 0 else {
                zmq_close(monitor)
                return nil
            }
            return monitor
        }

        private static func lastEndpoint(_ pointer: UnsafeMutableRawPointer) -> String? {
            withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 1) { bytes in
                var length = bytes.count
                guard zmq_getsockopt(pointer, ZMQ_LAST_ENDPOINT, bytes.baseAddress, &length) == 0, length > 1 else {
                    return nil
                }
                return String(decoding: bytes.prefix(length - 1), as: UTF8.self)
            }
        }

        // MARK: Messages

        /// Takes the next message, never waiting.
        func receive() -> Received { LibZMQ.receive(self.pointer, self.endpoint) }

        /// Takes what the library tells about connections: true for a new one, false for a lost one.
        func nextConnection() -> Bool? {
            guard let monitor else { return nil }
            guard case .message(let frames) = LibZMQ.receive(monitor, self.endpoint) else { return nil }
            // The first frame is the event's number and a value, in the machine's byte order.
            guard let event = frames.first?.getInteger(at: 0, endianness: .host, as: UInt16.self) else { return nil }
            return Int32(event) == ZMQ_EVENT_HANDSHAKE_SUCCEEDED
        }

        /// Hands a message to the library, never waiting.
        ///
        /// - Throws: `ZMQError`, `overloaded` when the library holds as much as it may.
        func send(_ frames: [ByteBuffer]) throws(ZMQError) {
            for (index, frame) in frames.enumerated() {
                let flags = ZMQ_DONTWAIT | (index + 1 < frames.count ? ZMQ_SNDMORE : 0)
                let sent = frame.withUnsafeReadableBytes { zmq_send(self.pointer, $0.baseAddress, $0.count, flags) }
                guard sent < 0 else { continue }
                guard zmq_errno() == EAGAIN else { throw LibZMQ.error("send to", self.endpoint) }
                throw ZMQError(
                    .overloaded,
                    endpoint: self.endpoint,
                    "'\(self.endpoint)' takes no more messages: it is gone, or slower than what is sent"
                )
            }
        }
    }

    private static func receive(_ socket: UnsafeMutableRawPointer, _ endpoint: String) -> Received {
        var frames: [ByteBuffer] = []
        var count = 0
        // The library asks for pointer alignment, which the imported structure does not promise.
        return withUnsafeTemporaryAllocation(byteCount: MemoryLayout<zmq_msg_t>.size, alignment: 16) { memory in
            let message = memory.bindMemory(to: zmq_msg_t.self)
            guard let part = message.baseAddress else { return .nothing }
            while true {
                guard zmq_msg_init(part) == 0 else { return .failed(self.error("receive from", endpoint)) }
                defer { zmq_msg_close(part) }
                guard zmq_msg_recv(part, socket, ZMQ_DONTWAIT) >= 0 else {
                    let number = zmq_errno()
                    // A socket that only sends has nothing to read; it is asked because its connections changed.
                    return number == EAGAIN || number == EINTR || number == ENOTSUP
                        ? .nothing : .failed(self.error("receive from", endpoint))
                }
                count += 1
                if count <= self.maximumFrames {
                    let bytes = UnsafeRawBufferPointer(start: zmq_msg_data(part), count: zmq_msg_size(part))
                    frames.append(ByteBuffer(bytes: bytes))
                }
                guard zmq_msg_more(part) == 0 else { continue }
                return count <= self.maximumFrames ? .message(frames) : .refused(frames: count)
            }
        }
    }

    /// Waits until a socket has something, a descriptor is readable or the time is over.
    ///
    /// - Parameters:
    ///   - sockets: what to watch.
    ///   - descriptor: a pipe.
    ///   - milliseconds: how long; negative without an end.
    /// - Returns: for each socket whether it, or the watch over its connections, has something to read.
    static func poll(_ sockets: [Socket], descriptor: Int32, milliseconds: Int) -> [Bool] {
        let interest = Int16(ZMQ_POLLIN)
        var items = [zmq_pollitem_t(socket: nil, fd: descriptor, events: interest, revents: 0)]
        for socket in sockets {
            items.append(zmq_pollitem_t(socket: socket.pointer, fd: 0, events: interest, revents: 0))
            // A socket without a watch is asked twice, which keeps the places regular.
            let second = socket.monitor ?? socket.pointer
            items.append(zmq_pollitem_t(socket: second, fd: 0, events: interest, revents: 0))
        }
        guard zmq_poll(&items, Int32(items.count), milliseconds) > 0 else {
            return Array(repeating: false, count: sockets.count)
        }
        return sockets.indices.map { items[1 + 2 * $0].revents != 0 || items[2 + 2 * $0].revents != 0 }
    }
}
