import Glibc

/// The server behind the gateways that are compared: one thread, as few system calls as an answer can have.
///
///     gateway-upstream PORT
///
/// - `GET /` and `POST /` are answered with a few bytes of JSON, the latter once the body has come.
/// - `GET /stream/COUNT/PAUSE` is answered with so many server-sent events, each in a chunk and a write of its own, as fast as the
///   connection takes them (PAUSE 0), or one every PAUSE milliseconds.
@main
enum GatewayUpstream {
    static func main() {
        guard let port = CommandLine.arguments.dropFirst().first.flatMap({ UInt16($0) }) else {
            print("usage: gateway-upstream PORT")
            exit(2)
        }
        var server = Server(port: port)
        server.run()
    }
}

/// One stream of events on a connection.
private struct EventStream {
    /// Events; at zero the body's end is sent.
    var left: Int
    /// Nanoseconds; 0: no pause.
    var pause: UInt64
    var due: UInt64
    /// Of the chunk that is being sent.
    var sent = 0
}

private struct Connection {
    var inbound: [UInt8] = []
    var stream: EventStream?
}

private struct Server {
    private static let small: [UInt8] = Self.answer(
        #"{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}"#
    )
    private static let streamHead = Array(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
            .utf8
    )
    private static let event: [UInt8] = {
        let data =
            #"data: {"id":"chatcmpl-0b0b4e1c","object":"chat.completion.chunk","created":1700000000,"model":"tiny","#
            + #""choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}"# + "\n\n"
        return Array("\(String(data.utf8.count, radix: 16))\r\n\(data)\r\n".utf8)
    }()
    private static let streamEnd = Array("0\r\n\r\n".utf8)

    private static func answer(_ body: String) -> [UInt8] {
        Array(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
                .utf8
        )
    }

    private static let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)

    private let listener: Int32
    private var connections: [Int32: Connection] = [:]
    /// What is waited for: the listener first, then every connection.
    private var pollers: [pollfd]
    private var streams = 0
    private var chunk = [UInt8](repeating: 0, count: 64 << 10)

    init(port: UInt16) {
        self.listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        self.pollers = [pollfd(fd: self.listener, events: Int16(POLLIN), revents: 0)]
        var on: Int32 = 1
        setsockopt(self.listener, SOL_SOCKET, SO_REUSEADDR, &on, 4)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port.bigEndian)
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(self.listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0, listen(self.listener, 4096) == 0 else {
            print("cannot listen on port \(port): \(String(cString: strerror(errno)))")
            exit(1)
        }
    }

    /// Serves for ever.
    mutating func run() -> Never {
        while true {
            guard poll(&self.pollers, nfds_t(self.pollers.count), self.timeout()) >= 0 else { continue }
            for index in self.pollers.indices.dropFirst() {
                let events = Int32(self.pollers[index].revents)
                if events & POLLOUT != 0 { self.pollers[index].events = Int16(POLLIN) }
                if events & ~POLLOUT != 0 { self.read(index) }
            }
            if self.pollers[0].revents != 0 { self.accept() }
            if self.streams > 0 { self.sendEvents() }
            self.pollers.removeAll { $0.fd < 0 }
        }
    }

    /// Milliseconds; without an end while nothing is due by itself.
    private func timeout() -> Int32 {
        guard self.streams > 0 else { return -1 }
        let isReady = self.pollers.contains { poller in
            Int32(poller.events) & POLLOUT == 0 && self.connections[poller.fd]?.stream?.pause == 0
        }
        return isReady ? 0 : 1
    }

    private mutating func accept() {
        let descriptor = Glibc.accept(self.listener, nil, nil)
        guard descriptor >= 0 else { return }
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
        self.connections[descriptor] = Connection()
        self.pollers.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
    }

    /// The poller stays until the round is over.
    private mutating func end(_ index: Int) {
        let descriptor = self.pollers[index].fd
        if self.connections.removeValue(forKey: descriptor)?.stream != nil { self.streams -= 1 }
        close(descriptor)
        self.pollers[index].fd = -1
    }

    // MARK: Requests

    private mutating func read(_ index: Int) {
        let descriptor = self.pollers[index].fd
        let count = recv(descriptor, &self.chunk, self.chunk.count, Self.flags)
        if count < 0, errno == EAGAIN { return }
        guard count > 0 else { return self.end(index) }
        self.connections[descriptor]?.inbound += self.chunk[..<count]
        while let request = self.takeRequest(descriptor) { self.answer(descriptor, request) }
    }

    /// The request line, once the whole request has come.
    private mutating func takeRequest(_ descriptor: Int32) -> String? {
        guard let inbound = self.connections[descriptor]?.inbound, let head = Self.headLength(inbound) else {
            return nil
        }
        var length = head
        if inbound[0] == UInt8(ascii: "P") { length += Self.contentLength(inbound[..<head]) }
        guard inbound.count >= length else { return nil }
        let lineEnd = inbound.firstIndex(of: UInt8(ascii: "\r")) ?? head
        self.connections[descriptor]?.inbound.removeFirst(length)
        return String(decoding: inbound[..<lineEnd], as: UTF8.self)
    }

    /// What the field says, whose name may have any case.
    private static func contentLength(_ head: ArraySlice<UInt8>) -> Int {
        let name = Array("\ncontent-length:".utf8)
        var matched = 0
        var value = 0
        for byte in head {
            if matched == name.count {
                if byte == UInt8(ascii: "\r") { break }
                if byte != UInt8(ascii: " ") { value = value * 10 + Int(byte - UInt8(ascii: "0")) }
            } else {
                matched = byte | 0x20 == name[matched] | 0x20 ? matched + 1 : byte == name[0] ? 1 : 0
            }
        }
        return value
    }

    private static func headLength(_ bytes: [UInt8]) -> Int? {
        var run = 0
        for (index, byte) in bytes.enumerated() {
            run =
                byte == (run & 1 == 0 ? UInt8(ascii: "\r") : UInt8(ascii: "\n"))
                ? run + 1 : byte == UInt8(ascii: "\r") ? 1 : 0
            if run == 4 { return index + 1 }
        }
        return nil
    }

    private mutating func answer(_ descriptor: Int32, _ request: String) {
        let parts = request.split(separator: " ").dropFirst().first?.split(separator: "/") ?? []
        guard parts.first == "stream", parts.count == 3, let count = Int(parts[1]), let pause = UInt64(parts[2]) else {
            send(descriptor, Self.small, Self.small.count, Self.flags)
            return
        }
        send(descriptor, Self.streamHead, Self.streamHead.count, Self.flags)
        self.connections[descriptor]?.stream = EventStream(
            left: count,
            pause: pause * 1_000_000,
            due: Self.now() + pause * 1_000_000
        )
        self.streams += 1
    }

    // MARK: Events

    private static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// One event for each stream that is due and whose connection takes it.
    private mutating func sendEvents() {
        let now = Self.now()
        for index in self.pollers.indices.dropFirst() where Int32(self.pollers[index].events) & POLLOUT == 0 {
            let descriptor = self.pollers[index].fd
            guard var stream = self.connections[descriptor]?.stream, stream.due <= now else { continue }
            let bytes = stream.left > 0 ? Self.event : Self.streamEnd
            let count = bytes.withUnsafeBytes { bytes in
                send(descriptor, bytes.baseAddress.map { $0 + stream.sent }, bytes.count - stream.sent, Self.flags)
            }
            if count < 0, errno == EAGAIN {
                self.pollers[index].events = Int16(POLLIN | POLLOUT)
                continue
            }
            stream.sent += max(0, count)
            if stream.sent == bytes.count {
                stream.sent = 0
                stream.left -= 1
                stream.due += stream.pause
            }
            let isOver = stream.left < 0
            if isOver { self.streams -= 1 }
            self.connections[descriptor]?.stream = isOver ? nil : stream
        }
    }
}
