import Glibc

/// A TCP client that reads only when it is told to, and little at a time.
package final class SlowReader: Sendable {
    private let descriptor: Int32

    /// Connects to a port of this machine.
    ///
    /// - Throws: `Failure` when nobody listens there.
    package init(port: Int) throws {
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        // Before it connects, or the window is larger already.
        var size: Int32 = 4096
        setsockopt(self.descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port).bigEndian)
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failure(errno: errno) }
    }

    deinit { close(self.descriptor) }

    /// Sends a text.
    package func send(_ text: String) {
        _ = Glibc.send(self.descriptor, text, text.utf8.count, Int32(MSG_NOSIGNAL))
    }

    /// Reads what is there, at most 1 MB.
    ///
    /// - Returns: the bytes, none when there are none yet; nil at the end.
    /// - Throws: `Failure` when the connection broke.
    package func read() throws -> [UInt8]? {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count < 1 << 20 {
            let count = recv(self.descriptor, &chunk, chunk.count, Int32(MSG_DONTWAIT))
            if count == 0 { return bytes.isEmpty ? nil : bytes }
            if count < 0 {
                if errno == EAGAIN { break }
                throw Failure(errno: errno)
            }
            bytes += chunk[..<count]
        }
        return bytes
    }

    /// Why a connection cannot be used.
    package struct Failure: Error, CustomStringConvertible {
        package var errno: Int32
        package var description: String { String(cString: strerror(self.errno)) }
    }
}
