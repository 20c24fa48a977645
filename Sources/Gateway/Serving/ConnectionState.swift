import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// What the system knows of a TCP connection and an event loop has not been told yet.
enum ConnectionState {
    /// The beginning of Linux's `struct tcp_info` (linux/tcp.h): headers of the C library end before the fields that count bytes.
    private struct Information: Sendable {
        /// The state is the first byte.
        var first: UInt64 = 0
        var skipped:
            (
                UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64,
                UInt64
            ) = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        var bytesAcknowledged: UInt64 = 0
    }

    /// `TCP_ESTABLISHED`.
    private static let established: UInt8 = 1

    /// The descriptor of a channel's socket, to be used while the channel is active.
    ///
    /// - Parameter context: of a handler of the channel; its event loop is the current one.
    /// - Returns: the descriptor; nil for a channel without one.
    static func descriptor(_ context: ChannelHandlerContext) -> CInt? {
        try? context.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: CInt.self) { $0 }
    }

    /// Whether neither side of a connection has begun to close.
    ///
    /// Asked before every request on a connection that is used again, therefore without NIO's options, which cost several times as much.
    ///
    /// - Parameter descriptor: of a channel that is active.
    /// - Returns: the answer; true where the system cannot say.
    static func isEstablished(_ descriptor: CInt) -> Bool {
        #if os(Linux)
        // The first four bytes are enough: the state, and three others.
        var value: UInt32 = 0
        var length = socklen_t(MemoryLayout<UInt32>.size)
        guard getsockopt(descriptor, CInt(IPPROTO_TCP), TCP_INFO, &value, &length) == 0 else { return false }
        return withUnsafeBytes(of: value) { $0[0] } == Self.established
        #else
        return true
        #endif
    }

    /// Whether bytes have come that were not read yet.
    ///
    /// - Parameter channel: the connection; its event loop is the current one.
    /// - Returns: whether there are some; false where nobody can say.
    static func hasUnreadBytes(_ channel: any Channel) -> Bool {
        let found: Bool? = try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
            of: NIOBSDSocket.Handle.self
        ) { descriptor in
            var byte: UInt8 = 0
            return recv(descriptor, &byte, 1, CInt(MSG_PEEK) | CInt(MSG_DONTWAIT)) > 0
        }
        return found ?? false
    }

    /// Whether the other side has acknowledged every byte up to a number, and none after it; false where the system cannot say.
    ///
    /// - Parameters:
    ///   - bytes: what was written before.
    ///   - channel: the connection; its event loop is the current one.
    /// - Returns: whether that is certain.
    static func hasAcknowledgedExactly(_ bytes: UInt64, _ channel: any Channel) -> Bool {
        // The handshake counts as one byte.
        self.acknowledgedBytes(channel) == bytes + 1
    }

    /// How many bytes the other side has acknowledged, and one for the handshake.
    ///
    /// - Parameter channel: the connection; its event loop is the current one.
    /// - Returns: the number; nil where the system cannot say.
    static func acknowledgedBytes(_ channel: any Channel) -> UInt64? {
        #if os(Linux)
        guard let provider = channel as? any SocketOptionProvider else { return nil }
        let level = SocketOptionLevel(IPPROTO_TCP)
        let future: EventLoopFuture<Information> =
            provider.unsafeGetSocketOption(level: level, name: SocketOptionName(TCP_INFO))
        var acknowledged: UInt64?
        // On its own event loop the answer is there at once.
        future.assumeIsolated().whenSuccess { acknowledged = $0.bytesAcknowledged }
        return acknowledged
        #else
        return nil
        #endif
    }

    /// Whether an error says that the other side's end came before the reset: Linux reports a reset in the state CLOSE_WAIT as EPIPE.
    static func cameAfterEnd(_ error: IOError) -> Bool { error.errnoCode == EPIPE }
}
