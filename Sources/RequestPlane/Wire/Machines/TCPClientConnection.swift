package import NIOCore

/// A caller's request connection: pairs acknowledgements with requests, by order.
///
/// Source: `request-plane.md` 2.3. Requests may be pipelined up to a limit. A request that timed out or was cancelled keeps its place in
/// the order, because its acknowledgement may still come.
package struct TCPClientConnection: Sendable, Hashable {
    /// Names a request on this connection.
    package typealias Token = UInt64

    private var state = State.open
    private var pending = CircularBuffer<Pending>()
    private var decoder: TCPAcknowledgementDecoder
    private var nextToken: Token = 0
    private let capacity: Int

    private enum State: Hashable {
        case open
        /// Takes no new requests, and closes when the last one is answered.
        case retired
        case closed
    }

    private struct Pending: Hashable {
        var token: Token
        var deadline: NIODeadline
        var isWanted: Bool
    }

    package enum Action: Hashable, Sendable {
        /// The instance answered a request that is still waited for.
        case complete(Token, TCPAcknowledgement)
        /// Nothing more can come; these requests have failed.
        case fail([Token], PlaneFailure)
        /// Nothing is pending on a retired connection.
        case close
    }

    /// Creates the machine of a connection that is open.
    ///
    /// - Parameters:
    ///   - capacity: how many acknowledgements may be outstanding.
    ///   - maximumAcknowledgementSize: the longest refusal that is read.
    package init(capacity: Int, maximumAcknowledgementSize: Int) {
        self.capacity = capacity
        self.decoder = TCPAcknowledgementDecoder(limit: maximumAcknowledgementSize)
    }

    /// Whether another request may be sent.
    package var hasCapacity: Bool { self.state == .open && self.pending.count < self.capacity }

    /// How many acknowledgements are outstanding.
    package var pendingCount: Int { self.pending.count }

    /// When the oldest request times out.
    package var nextDeadline: NIODeadline? { self.pending.first { $0.isWanted }?.deadline }

    /// A request is written; returns its token, or nil when there is no capacity.
    package mutating func send(deadline: NIODeadline) -> Token? {
        guard self.hasCapacity else { return nil }
        self.nextToken += 1
        self.pending.append(Pending(token: self.nextToken, deadline: deadline, isWanted: true))
        return self.nextToken
    }

    /// Adds received bytes; call `next()` until it returns nil afterwards.
    package mutating func append(_ bytes: ByteBuffer) {
        if self.state != .closed { self.decoder.append(bytes) }
    }

    /// What to do next; nil when more bytes are needed.
    package mutating func next() -> Action? {
        while self.state != .closed {
            do {
                guard let acknowledgement = try self.decoder.next() else {
                    return self.state == .retired && self.pending.isEmpty ? self.closeWhenRetired() : nil
                }
                // A surplus acknowledgement belongs to no request; real callers take no harm from one.
                guard let request = self.pending.popFirst() else { continue }
                if request.isWanted { return .complete(request.token, acknowledgement) }
            } catch {
                return self.closed(PlaneFailure(.protocolViolation, "unreadable acknowledgement: \(error)"))
            }
        }
        return nil
    }

    /// Returns the requests whose time is over.
    ///
    /// A peer that is late is not trusted with new requests on this connection.
    package mutating func expire(now: NIODeadline) -> [Token] {
        var expired: [Token] = []
        for index in self.pending.indices {
            guard self.pending[index].deadline <= now else { break }
            if self.pending[index].isWanted { expired.append(self.pending[index].token) }
            self.pending[index].isWanted = false
        }
        if !expired.isEmpty, self.state == .open { self.state = .retired }
        return expired
    }

    /// Takes no new requests; returns whether to close at once.
    package mutating func retire() -> Bool {
        if self.state == .open { self.state = .retired }
        return self.closeWhenRetired() == .close
    }

    /// Whether no request on a retired connection is waited for.
    package mutating func closeIfUnwanted() -> Bool {
        guard self.state == .retired, !self.pending.contains(where: { $0.isWanted }) else { return false }
        self.state = .closed
        return true
    }

    /// The connection is gone.
    package mutating func closed(_ failure: PlaneFailure) -> Action {
        self.state = .closed
        defer { self.pending.removeAll() }
        return .fail(self.pending.filter(\.isWanted).map(\.token), failure)
    }

    private mutating func closeWhenRetired() -> Action? {
        guard self.state == .retired, self.pending.isEmpty else { return nil }
        self.state = .closed
        return .close
    }
}
