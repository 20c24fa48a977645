package import NIOCore

/// The worker's side of one response stream: what may be written when, and when to give up.
///
/// ```
/// undecided --accept--> streaming --finish--> ended --> closed
///     |                                         ^
///     +------------------refuse-----------------+
/// ```
///
/// The handshake is written before the machine exists. Source: `request-plane.md` 5.
package struct ResponseStreamSender: Sendable, Hashable {
    private var state = State.undecided
    private var decoder = TwoPartDecoder(maximumHeaderSize: Self.maximumControlSize, maximumBodySize: 0)

    /// The largest control frame that a caller may send.
    package static let maximumControlSize = 4096

    private enum State: Hashable {
        case undecided
        case streaming
        case ended
        case closed
    }

    /// Why the handler is told to end.
    package enum Cancellation: Hashable, Sendable {
        /// The caller asked for an early, graceful end.
        case stopped
        /// The caller does not want the answer any more.
        case killed
        /// The caller is gone.
        case disconnected(String)
        /// The caller sent something that it may not send.
        case violation(String)
    }

    package enum Action: Hashable, Sendable {
        /// Cancel the handler and close without another frame.
        case cancel(Cancellation)
        /// The caller closed its sending side, which may mean that it is gone: send an empty frame, which every caller ignores.
        case probe
        /// Everything was said; close.
        case close
    }

    package init() {}

    /// Whether items may be written.
    package var isStreaming: Bool { self.state == .streaming }

    /// Whether the last frame was handed out.
    package var hasEnded: Bool { self.state == .ended }

    /// The handler has accepted the request.
    ///
    /// Returns whether to write the prologue.
    package mutating func accept() -> Bool {
        guard self.state == .undecided else { return false }
        self.state = .streaming
        return true
    }

    /// The handler has refused the request.
    ///
    /// Returns whether to write an error prologue and the sentinel.
    package mutating func refuse() -> Bool {
        guard self.state == .undecided else { return false }
        self.state = .ended
        return true
    }

    /// The handler's items have ended.
    ///
    /// Returns whether to write the final frame and the sentinel.
    package mutating func finish() -> Bool {
        guard self.state == .streaming else { return false }
        self.state = .ended
        return true
    }

    /// Takes bytes from the caller.
    package mutating func receive(_ bytes: ByteBuffer) -> Action? {
        guard self.state != .closed else { return nil }
        self.decoder.append(bytes)
        do {
            while let message = try self.decoder.next() {
                if message.header.readableBytes == 0 { continue }
                switch ControlFrame(message) {
                case .stop: return self.cancel(.stopped)
                case .kill: return self.cancel(.killed)
                case .sentinel, nil: return self.cancel(.violation("unexpected control frame from the caller"))
                }
            }
            return nil
        } catch {
            return self.cancel(.violation("from the caller: \(error)"))
        }
    }

    /// The caller closed its sending side.
    package mutating func inputClosed() -> Action? {
        switch self.state {
        case .undecided: return self.cancel(.disconnected("the caller closed the connection"))
        case .streaming: return .probe
        case .ended:
            self.state = .closed
            return .close
        case .closed: return nil
        }
    }

    /// The connection is gone.
    package mutating func connectionClosed(_ reason: String) -> Action? { self.cancel(.disconnected(reason)) }

    private mutating func cancel(_ reason: Cancellation) -> Action? {
        defer { self.state = .closed }
        switch self.state {
        case .undecided, .streaming: return .cancel(reason)
        case .ended: return .close
        case .closed: return nil
        }
    }
}
