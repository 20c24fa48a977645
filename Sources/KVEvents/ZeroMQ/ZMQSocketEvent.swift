package import NIOCore

/// What happens on a socket, told on its thread and in order.
package enum ZMQSocketEvent: Sendable, Equatable {
    /// A whole message.
    case message([ByteBuffer])
    /// A message with more frames than anything on this plane has; it was thrown away.
    case refused(frames: Int)
    /// A peer is there.
    case connected
    /// A peer is gone; a socket that connects tries again by itself.
    case disconnected
    /// The socket does not work any more.
    case failed(ZMQError)
}
