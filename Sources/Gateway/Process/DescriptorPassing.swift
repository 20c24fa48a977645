#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Descriptors that go from one process to another over a Unix socket, with one byte that means nothing.
enum DescriptorPassing {
    /// The system's own limit for one message is 253.
    static let most = 64

    /// `struct cmsghdr`, whose fields Swift cannot reach beyond it.
    private struct Header {
        var length: Int
        var level: Int32
        var type: Int32
    }

    private static let headerSize = MemoryLayout<Header>.size

    /// Sends descriptors, which stay open here.
    ///
    /// - Returns: whether the system took them.
    static func send(_ descriptors: [Int32], over socket: Int32) -> Bool {
        let descriptors = Array(descriptors.prefix(self.most))
        let size = self.headerSize + descriptors.count * MemoryLayout<Int32>.size
        var control = [UInt64](repeating: 0, count: (size + 7) / 8)
        var byte: UInt8 = 0
        return control.withUnsafeMutableBytes { control in
            control.storeBytes(
                of: Header(length: size, level: SOL_SOCKET, type: Int32(SCM_RIGHTS)),
                as: Header.self
            )
            for (index, descriptor) in descriptors.enumerated() {
                control.storeBytes(of: descriptor, toByteOffset: self.headerSize + index * 4, as: Int32.self)
            }
            return withUnsafeMutablePointer(to: &byte) { byte in
                var part = iovec(iov_base: byte, iov_len: 1)
                return withUnsafeMutablePointer(to: &part) { part in
                    var message = msghdr()
                    message.msg_iov = part
                    message.msg_iovlen = 1
                    if !descriptors.isEmpty {
                        message.msg_control = control.baseAddress
                        message.msg_controllen = control.count
                    }
                    return sendmsg(socket, &message, Int32(MSG_NOSIGNAL)) == 1
                }
            }
        }
    }

    /// Waits for what ``send(_:over:)`` has sent.
    ///
    /// - Returns: the descriptors, which are not inherited; nil when something else came, or nothing.
    static func receive(from socket: Int32) -> [Int32]? {
        let size = self.headerSize + self.most * MemoryLayout<Int32>.size
        var control = [UInt64](repeating: 0, count: (size + 7) / 8)
        var byte: UInt8 = 0
        return control.withUnsafeMutableBytes { control -> [Int32]? in
            withUnsafeMutablePointer(to: &byte) { byte -> [Int32]? in
                var part = iovec(iov_base: byte, iov_len: 1)
                return withUnsafeMutablePointer(to: &part) { part -> [Int32]? in
                    var message = msghdr()
                    message.msg_iov = part
                    message.msg_iovlen = 1
                    message.msg_control = control.baseAddress
                    message.msg_controllen = control.count
                    var count: Int
                    repeat {
                        count = recvmsg(socket, &message, Int32(MSG_CMSG_CLOEXEC))
                    } while count < 0 && errno == EINTR
                    guard count == 1 else { return nil }
                    guard message.msg_controllen >= self.headerSize else { return [] }
                    let header = control.load(as: Header.self)
                    guard header.level == SOL_SOCKET, header.type == Int32(SCM_RIGHTS) else { return [] }
                    let number = (header.length - self.headerSize) / MemoryLayout<Int32>.size
                    return (0..<number).map {
                        control.load(fromByteOffset: self.headerSize + $0 * 4, as: Int32.self)
                    }
                }
            }
        }
    }

    /// Who is at the other end of a Unix socket.
    struct Peer: Sendable, Hashable {
        var processID: Int32 = 0
        var userID: UInt32 = 0
        var groupID: UInt32 = 0
    }

    /// - Returns: nil when the system does not say.
    static func peer(of socket: Int32) -> Peer? {
        var peer = Peer()
        var size = socklen_t(MemoryLayout<Peer>.size)
        return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer : nil
    }
}
