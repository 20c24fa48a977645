import Foundation
import TestSupport

/// The service manager's end of `NOTIFY_SOCKET`: a datagram socket that a test owns.
final class NotifySocket: Sendable {
    /// A message and how many descriptors came with it.
    struct Message: Sendable {
        var text: String
        var descriptors: [Int32]
        var lines: [String] { self.text.split(separator: "\n").map(String.init) }
    }

    private let descriptor: Int32
    let path: String

    init(in directory: URL) throws {
        self.path = directory.appending(path: "notify").path()
        self.descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(self.path.utf8)) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    }

    deinit { close(self.descriptor) }

    /// The next message; nil when none is there.
    func next() -> Message? {
        var text = [UInt8](repeating: 0, count: 4096)
        // One word each: the header takes two, and a descriptor half a one.
        var control = [UInt64](repeating: 0, count: 32)
        return text.withUnsafeMutableBytes { text in
            control.withUnsafeMutableBytes { control -> Message? in
                var piece = iovec(iov_base: text.baseAddress, iov_len: text.count)
                var header = msghdr()
                header.msg_iovlen = 1
                header.msg_control = control.baseAddress
                header.msg_controllen = control.count
                let count = withUnsafeMutablePointer(to: &piece) { piece in
                    header.msg_iov = piece
                    return recvmsg(self.descriptor, &header, Int32(MSG_DONTWAIT))
                }
                guard count >= 0 else { return nil }
                return Message(
                    text: String(decoding: text[..<count], as: UTF8.self),
                    descriptors: Self.descriptors(UnsafeRawBufferPointer(control)[..<header.msg_controllen])
                )
            }
        }
    }

    /// All that are there.
    func all() -> [Message] {
        var messages: [Message] = []
        while let message = self.next() { messages.append(message) }
        return messages
    }

    /// What `SCM_RIGHTS` carries.
    private static func descriptors(_ control: Slice<UnsafeRawBufferPointer>) -> [Int32] {
        var result: [Int32] = []
        var rest = UnsafeRawBufferPointer(rebasing: control)
        while rest.count >= MemoryLayout<cmsghdr>.size {
            let header = rest.loadUnaligned(as: cmsghdr.self)
            let length = Int(header.cmsg_len)
            guard length >= MemoryLayout<cmsghdr>.size, length <= rest.count else { break }
            if header.cmsg_level == SOL_SOCKET, header.cmsg_type == Int32(SCM_RIGHTS) {
                var offset = MemoryLayout<cmsghdr>.size
                while offset + 4 <= length {
                    result.append(rest.loadUnaligned(fromByteOffset: offset, as: Int32.self))
                    offset += 4
                }
            }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(min(rest.count, (length + 7) / 8 * 8)))
        }
        return result
    }
}

/// Where the program of these tests is.
let subject = TestEnvironment.products.appending(path: "systemd-subject").path()
