/// The state of one HTTP/2 connection as a caller sees it: how many streams it takes, whether it is going away, whether it is alive.
///
/// ```
/// connecting --SETTINGS--> open --GOAWAY--> goingAway --last stream--> closed
/// ```
struct HTTP2ClientConnection: Sendable, Hashable {
    private let maximumStreams: Int
    private var state = State.connecting
    private var openStreams = 0
    private var unansweredPing: UInt64?
    private var pings: UInt64 = 0

    /// What a peer is believed to take that does not say; further streams would wait within the HTTP/2 handler.
    private static let assumedStreams = 100

    private enum State: Hashable {
        case connecting
        case open
        /// Streams above the last one were not processed.
        case goingAway(last: Int)
        case closed
    }

    enum Action: Hashable {
        case opened(capacity: Int)
        case capacityChanged(Int)
        case retire
        case retireAndClose
        case sendPing(UInt64)
        case close
    }

    /// Creates the state of a connection on which nothing has been received.
    ///
    /// - Parameter maximumStreams: how many requests may run at once, whatever the peer allows.
    init(maximumStreams: Int) { self.maximumStreams = maximumStreams }

    var isConnecting: Bool { self.state == .connecting }

    var takesRequests: Bool { self.state == .open }

    // MARK: Frames

    /// Settings have arrived.
    ///
    /// - Parameter maximumStreams: how many streams the peer allows, if it says so.
    /// - Returns: what to do.
    mutating func receiveSettings(maximumStreams: Int?) -> Action? {
        switch self.state {
        case .connecting:
            self.state = .open
            return .opened(capacity: min(maximumStreams ?? Self.assumedStreams, self.maximumStreams))
        case .open: return maximumStreams.map { .capacityChanged(min($0, self.maximumStreams)) }
        case .goingAway, .closed: return nil
        }
    }

    /// The peer takes no more streams.
    ///
    /// - Parameter last: the last stream that it processes.
    /// - Returns: what to do.
    mutating func receiveGoAway(last: Int) -> Action? {
        switch self.state {
        case .connecting:
            self.state = .goingAway(last: last)
            return .close
        case .open:
            self.state = .goingAway(last: last)
            return self.openStreams == 0 ? .retireAndClose : .retire
        case .goingAway:
            self.state = .goingAway(last: last)
            return nil
        case .closed: return nil
        }
    }

    /// Whether the peer has said that it does not process a stream.
    func isUnprocessed(_ stream: Int) -> Bool {
        if case .goingAway(let last) = self.state { stream > last } else { false }
    }

    // MARK: Streams

    mutating func streamOpened() { self.openStreams += 1 }

    mutating func streamClosed() -> Action? {
        self.openStreams -= 1
        guard case .goingAway = self.state, self.openStreams == 0 else { return nil }
        self.state = .closed
        return .close
    }

    /// No more streams can be opened, for whatever reason.
    mutating func exhausted() -> Action? {
        guard self.state == .open else { return nil }
        return self.receiveGoAway(last: Int(Int32.max))
    }

    // MARK: Liveness

    /// It is time for a ping.
    mutating func pingIsDue() -> Action? {
        guard self.state != .closed, self.unansweredPing == nil else { return nil }
        self.pings += 1
        self.unansweredPing = self.pings
        return .sendPing(self.pings)
    }

    mutating func receivePong(_ ping: UInt64) { if ping == self.unansweredPing { self.unansweredPing = nil } }

    /// The time for the answer to a ping is over.
    mutating func pingIsOverdue(_ ping: UInt64) -> Action? {
        guard ping == self.unansweredPing, self.state != .closed else { return nil }
        self.state = .closed
        return .close
    }
}
