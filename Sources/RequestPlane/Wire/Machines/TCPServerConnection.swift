package import NIOCore

/// A worker's side of a request connection: frames in, acknowledgements out, in order.
///
/// Source: `request-plane.md` 2.3 and 2.4. An acknowledgement is written as soon as its frame is complete, so order needs no memory.
package struct TCPServerConnection: Sendable, Hashable {
    private var decoder: TCPRequestDecoder
    private var isOpen = true

    package enum Action: Hashable, Sendable {
        /// Start to answer the request, and acknowledge or refuse it.
        case dispatch(path: String, TCPRequestFrame)
        /// Refuse; the connection stays usable.
        case refuse(String)
        /// Refuse and close: what follows cannot be told apart.
        case refuseAndClose(String)
    }

    /// Creates the machine of a connection that was just accepted.
    ///
    /// - Parameter maximumMessageSize: the largest request frame, its length fields included.
    package init(maximumMessageSize: Int) { self.decoder = TCPRequestDecoder(limit: maximumMessageSize) }

    /// Whether a frame has begun and is not complete.
    package var isInsideFrame: Bool { self.isOpen && !self.decoder.isBetweenFrames }

    /// Adds received bytes; call `next()` until it returns nil afterwards.
    package mutating func append(_ bytes: ByteBuffer) {
        if self.isOpen { self.decoder.append(bytes) }
    }

    /// What to do next; nil when more bytes are needed.
    package mutating func next() -> Action? {
        guard self.isOpen else { return nil }
        if self.decoder.startsTLS {
            self.isOpen = false
            return .refuseAndClose("Read error: this port does not speak TLS")
        }
        do {
            guard let frame = try self.decoder.next() else { return nil }
            guard let path = frame.pathText else { return .refuse("Invalid endpoint path") }
            return .dispatch(path: path, frame)
        } catch {
            self.isOpen = false
            return .refuseAndClose("Read error: \(error)")
        }
    }

    /// A frame that has begun does not grow any more.
    ///
    /// - Parameter time: for how long.
    /// - Returns: what to do, or nil when there is no such frame.
    package mutating func stalled(for time: Duration) -> Action? {
        guard self.isInsideFrame else { return nil }
        self.isOpen = false
        return .refuseAndClose("Read error: the request did not grow for \(time)")
    }
}
