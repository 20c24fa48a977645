import Glibc

/// A client that sends bytes as they are, and shows what comes back.
final class RawClient: Sendable {
    private let descriptor: Int32

    /// Connects to a port of this machine.
    init(port: Int, receiveBuffer: Int32? = nil) throws {
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if var size = receiveBuffer { setsockopt(self.descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port).bigEndian)
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failure(what: "connect", errno: errno) }
    }

    /// Takes a connection that was accepted: the other side of a client.
    init(accepted descriptor: Int32) { self.descriptor = descriptor }

    /// Connects to a Unix socket.
    init(path: String) throws {
        self.descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw Failure(what: "connect", errno: errno) }
    }

    deinit { Glibc.close(self.descriptor) }

    struct Failure: Error, CustomStringConvertible {
        var what: String
        var errno: Int32
        var description: String { "\(self.what): \(String(cString: strerror(self.errno)))" }
    }

    /// What came before a deadline, and how it ended.
    struct Received: Sendable {
        var text = ""
        var isClosed = false
        var isReset = false
    }

    func send(_ text: String) throws {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes {
                Glibc.send(self.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure(what: "send", errno: errno) }
            bytes = bytes.dropFirst(count)
        }
    }

    /// Sends what fits at once.
    func sendSome(_ bytes: [UInt8]) -> Int {
        max(0, Glibc.send(self.descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)))
    }

    func endOutput() { shutdown(self.descriptor, Int32(SHUT_WR)) }

    /// Reads until a condition holds, the connection ends, or time is up.
    func receive(within limit: Duration = .seconds(5), until isEnough: (String) -> Bool) async -> Received {
        var received = Received()
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            let count = recv(self.descriptor, &chunk, chunk.count, Int32(MSG_DONTWAIT))
            if count > 0 {
                bytes += chunk[..<count]
                received.text = String(decoding: bytes, as: UTF8.self)
                if isEnough(received.text) { return received }
            } else if count == 0 {
                received.isClosed = true
                return received
            } else if errno != EAGAIN {
                received.isClosed = true
                received.isReset = true
                return received
            } else {
                try? await Task.sleep(for: .milliseconds(2))
            }
        }
        return received
    }

    /// Reads and throws away until enough has come.
    ///
    /// - Returns: how many bytes came.
    func receiveCount(within limit: Duration, until isEnough: (Int) -> Bool) async -> Int {
        var total = 0
        var chunk = [UInt8](repeating: 0, count: 256 << 10)
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            let count = recv(self.descriptor, &chunk, chunk.count, Int32(MSG_DONTWAIT))
            if count > 0 {
                total += count
                if isEnough(total) { return total }
            } else if count == 0 || errno != EAGAIN {
                return total
            } else {
                try? await Task.sleep(for: .milliseconds(1))
            }
        }
        return total
    }

    /// Reads until the connection ends.
    func receiveAll(within limit: Duration = .seconds(5)) async -> Received {
        await self.receive(within: limit) { _ in false }
    }

    /// Reads one answer with a Content-Length, or its head where there is none.
    func receiveAnswer(within limit: Duration = .seconds(5)) async -> Received {
        await self.receive(within: limit) { text in
            guard let end = text.firstRange(of: "\r\n\r\n") else { return false }
            let head = text[..<end.lowerBound].lowercased()
            guard let field = head.firstRange(of: "content-length: ") else { return true }
            let length = Int(head[field.upperBound...].prefix { $0.isNumber }) ?? 0
            return text[end.upperBound...].utf8.count >= length
        }
    }
}
