#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Breaks the connections of this process that were opened since it was made, on both ends, as the end of a process does.
///
/// No transport has to help, so none can be kinder to its peer than a killed process is. Tests run one at a time.
struct ConnectionCutter: Sendable {
    private let before: Set<Int32>

    init() { self.before = Set(Self.connections()) }

    func cut() {
        for descriptor in Self.connections() where !self.before.contains(descriptor) {
            _ = shutdown(descriptor, Int32(SHUT_RDWR))
        }
    }

    /// Descriptors of this process that are in use.
    static func descriptorCount() -> Int { self.descriptors().count { fcntl($0, F_GETFD) >= 0 } }

    private static func descriptors() -> Range<Int32> { 3..<4096 }

    /// Connected sockets over IP.
    private static func connections() -> [Int32] {
        self.descriptors().filter { descriptor in
            var address = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let result = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &length) }
            }
            guard result == 0 else { return false }
            return address.ss_family == sa_family_t(AF_INET) || address.ss_family == sa_family_t(AF_INET6)
        }
    }
}
