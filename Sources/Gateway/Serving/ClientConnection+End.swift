import NIOCore

/// Whether a client's connection may end, and its end.
extension ClientConnection {
    /// Whether a request is here, on its way, or to be expected because the connection is new.
    var isBusy: Bool {
        switch self.phase {
        case .reading: self.requestCount == 0 || self.reader.bufferedBytes > 0 || self.hasUnreadBytes
        case .held, .connecting, .exchanging, .tunnel: true
        case .lingering, .closed: false
        }
    }

    var hasUnreadBytes: Bool { self.context.map { ConnectionState.hasUnreadBytes($0.channel) } ?? false }

    func quiesce() {
        self.isDraining = true
        switch self.phase {
        // A request may be on its way: it is still answered.
        case .reading where !self.reader.isInsideHead:
            self.expect(within: self.requestCount == 0 ? Self.firstRequestPause : Self.drainPause)
        case .held, .connecting, .exchanging: self.exchange?.closesAfter = true
        case .reading, .lingering, .tunnel, .closed: break
        }
    }

    func close() {
        if case .closed = self.phase { return }
        self.phase = .closed
        self.exchange = nil
        self.timer.cancel()
        self.stall.end()
        self.context?.close(promise: nil)
    }
}
