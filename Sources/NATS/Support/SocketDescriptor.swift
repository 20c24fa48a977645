import Glibc

/// A duplicate of libnats' socket, ours to poll: libnats may close its own while we do, and the number would soon mean
/// another file.
final class SocketDescriptor: Sendable {
    let number: Int32

    init?(duplicating descriptor: Int32) {
        self.number = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard self.number >= 0 else { return nil }
    }

    deinit { close(self.number) }

    /// Ends the connection that both share, so that libnats notices.
    func shutdown() { _ = Glibc.shutdown(self.number, Int32(SHUT_RDWR)) }
}
