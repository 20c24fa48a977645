package import NIOCore

/// The caller's side of one response stream: what to do with what a worker sends.
///
/// ```
/// handshake --> matching --> prologue --> streaming --> complete --> closed
///                                            (final)     (sentinel)
/// ```
///
/// Every other order is a violation that ends the stream with an error. Source: `request-plane.md` 5.2 to 5.7.
package struct ResponseStreamReceiver: Sendable, Hashable {
    private var state: State
    private var decoder: TwoPartDecoder
    private var stopSent = false
    private var followUp: Action?
    private let maximumItemSize: Int

    /// The largest control frame; a stranger can make a listener hold no more than this.
    package static let maximumControlSize = 64 * 1024

    private enum State: Hashable {
        case handshake
        case matching
        case prologue
        case streaming
        case complete
        case closed
    }

    package enum Action: Hashable, Sendable {
        /// Find the request of this subject, then call `matched()`; or reset the connection when there is none.
        case match(String)
        /// Not one of our workers: drop the connection so that it notices.
        case reset(String)
        /// The worker has accepted the request.
        case accept
        /// Hand the items to the reader.
        case deliver([ResponseItem])
        /// The answer is complete; wait for the sentinel, but not for long.
        case finish
        /// The answer is complete or was stopped, and nothing more can come.
        case finishAndClose
        /// End with an error, and close.
        case fail(PlaneFailure)
        /// Tell the worker to give up, end with an error, and close.
        case killAndFail(PlaneFailure)
        /// Close; the reader knows all it needs.
        case close
    }

    /// Creates the machine of a connection that was just accepted.
    ///
    /// - Parameter maximumItemSize: the largest data frame that is read.
    package init(maximumItemSize: Int) {
        self.state = .handshake
        self.maximumItemSize = maximumItemSize
        self.decoder = TwoPartDecoder(maximumHeaderSize: Self.maximumControlSize, maximumBodySize: 0)
    }

    /// Adds received bytes; call `next()` until it returns nil afterwards.
    package mutating func append(_ bytes: ByteBuffer) {
        if self.state != .closed { self.decoder.append(bytes) }
    }

    /// The subject belongs to a request that still waits.
    package mutating func matched() {
        guard self.state == .matching else { return }
        self.state = .prologue
    }

    /// What to do next; nil when more bytes are needed.
    package mutating func next() -> Action? {
        if let action = self.followUp {
            self.followUp = nil
            return action
        }
        if self.state == .handshake, self.decoder.startsTLS {
            return self.violation("the worker speaks TLS, and this port does not: set DYN_TCP_TLS_CERT_PATH")
        }
        while self.state != .closed, self.state != .matching {
            do {
                guard let message = try self.decoder.next() else { return nil }
                if let action = self.receive(message) { return action }
            } catch {
                return self.violation(error.description)
            }
        }
        return nil
    }

    /// The reader wants no more items but a normal end.
    ///
    /// Returns whether to send the frame.
    package mutating func stop() -> Bool {
        guard self.state == .prologue || self.state == .streaming, !self.stopSent else { return false }
        self.stopSent = true
        return true
    }

    /// The reader is gone.
    ///
    /// Returns whether to send the frame; close in any case.
    package mutating func kill() -> Bool {
        let isOpen = self.state == .prologue || self.state == .streaming
        self.state = .closed
        return isOpen
    }

    /// The worker closed its side, or the connection broke.
    ///
    /// - Parameter reason: what is known about it.
    /// - Returns: how the stream ends, or nil when that was known already.
    package mutating func inputClosed(_ reason: String) -> Action? {
        defer { self.state = .closed }
        switch self.state {
        case .handshake, .matching, .complete: return .close
        case .closed: return nil
        case .prologue:
            return .fail(
                PlaneFailure(.streamEndedEarly, "the worker closed the response stream before it had begun: \(reason)")
            )
        case .streaming:
            if self.stopSent { return .finishAndClose }
            return .fail(
                PlaneFailure(.streamEndedEarly, "the worker closed the response stream before its end: \(reason)")
            )
        }
    }

    /// Time is over for a worker that was told to stop, or whose sentinel is missing.
    package mutating func lingerEnded() -> Action? {
        defer { self.state = .closed }
        switch self.state {
        case .closed: return nil
        case .prologue, .streaming: return .finishAndClose
        case .handshake, .matching, .complete: return .close
        }
    }
}

// MARK: - Frames

extension ResponseStreamReceiver {
    private mutating func receive(_ message: TwoPartMessage) -> Action? {
        if message.header.readableBytes == 0, message.body.readableBytes == 0, self.state != .handshake { return nil }
        switch self.state {
        case .handshake: return self.receiveHandshake(message)
        case .prologue: return self.receivePrologue(message)
        case .streaming: return self.receiveItem(message)
        case .complete: return self.receiveAfterFinal(message)
        case .matching, .closed: return nil
        }
    }

    private mutating func receiveHandshake(_ message: TwoPartMessage) -> Action {
        do {
            let handshake = try Handshake(message)
            guard handshake.streamType == "response" else {
                return self.violation("handshake with unknown stream type '\(handshake.streamType)'")
            }
            self.state = .matching
            self.decoder.maximumBodySize = self.maximumItemSize
            return .match(handshake.subject)
        } catch {
            return self.violation(error.description)
        }
    }

    private mutating func receivePrologue(_ message: TwoPartMessage) -> Action {
        do {
            switch try Prologue(message) {
            case .accepted:
                self.state = .streaming
                return .accept
            case .refused(let text, let typed):
                self.state = .closed
                return .fail(PlaneFailure(refusal: text, typed))
            }
        } catch {
            return self.violation(error.description)
        }
    }

    private mutating func receiveItem(_ message: TwoPartMessage) -> Action? {
        guard message.header.readableBytes == 0 else {
            guard ControlFrame(message) == .sentinel else {
                return self.violation("unexpected control frame among the items")
            }
            self.state = .closed
            if self.stopSent { return .finishAndClose }
            return .fail(PlaneFailure(.streamEndedEarly, "the worker ended the response stream without a final frame"))
        }
        do {
            let frame = try ItemFrame(message.body)
            if frame.isFinal {
                self.state = .complete
                if frame.items.isEmpty { return .finish }
                self.followUp = .finish
            }
            return .deliver(frame.items)
        } catch {
            return self.violation(error.description)
        }
    }

    private mutating func receiveAfterFinal(_ message: TwoPartMessage) -> Action {
        self.state = .closed
        return .close
    }

    private mutating func violation(_ reason: String) -> Action {
        defer { self.state = .closed }
        switch self.state {
        case .handshake, .matching: return .reset(reason)
        case .complete, .closed: return .close
        case .prologue, .streaming:
            return .killAndFail(PlaneFailure(.protocolViolation, "the worker broke the protocol: \(reason)"))
        }
    }
}
