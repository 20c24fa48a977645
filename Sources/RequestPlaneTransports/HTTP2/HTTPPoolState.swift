import NIOCore
import RequestPlane

/// Decides which connection to an instance's host takes the next request, when to open another one, which protocol to speak on it, and
/// when to let one go.
///
/// A connection is filled before another one is opened. A host is spoken to in HTTP/2; when it turns out not to understand that, in
/// HTTP/1.1 from then on. After a failed attempt, requests fail at once for a short while that doubles with each further failure.
struct HTTPPoolState: Sendable, Hashable {
    typealias ConnectionID = Int

    enum Dialect: Hashable, Sendable {
        case http2
        case http1
    }

    private let limit: Int
    private let maximumIdle: Int
    private let idleTimeout: TimeAmount
    private var connections: [Connection] = []
    private var nextID: ConnectionID = 0
    private var backoff = ConnectBackoff()
    private var dialect = Dialect.http2
    /// Whether the host has answered in the dialect; HTTP/1.1 without that is a guess.
    private var isDialectProven = false
    /// How many requests the latest HTTP/2 connection took at once; before there was one, the first is waited for.
    private var usualCapacity = Int.max

    private struct Connection: Hashable {
        var id: ConnectionID
        var dialect: Dialect
        var phase: Phase
    }

    private enum Phase: Hashable {
        case connecting
        case open(used: Int, capacity: Int, idleSince: NIODeadline)
    }

    enum Placement: Hashable {
        /// Write the request on this connection.
        case use(ConnectionID)
        /// Open a connection, then ask again.
        case connect(ConnectionID, Dialect)
        /// Wait until a connection has room, and ask again at the given time if there is one.
        case wait(until: NIODeadline?)
        /// The host is not reachable just now.
        case fail(PlaneFailure)
    }

    /// Creates the state of a host that nobody has called yet.
    ///
    /// - Parameters:
    ///   - limit: how many connections there may be.
    ///   - maximumIdle: how many of them are kept unused.
    ///   - idleTimeout: how long.
    init(limit: Int, maximumIdle: Int, idleTimeout: TimeAmount) {
        self.limit = limit
        self.maximumIdle = maximumIdle
        self.idleTimeout = idleTimeout
    }

    func contains(_ id: ConnectionID) -> Bool { self.connections.contains { $0.id == id } }

    var isEmpty: Bool { self.connections.isEmpty }

    // MARK: Requests

    /// Where the first of `waiting` requests goes.
    mutating func place(waiting: Int, now: NIODeadline) -> Placement {
        var isHostFull = false
        for connection in self.connections {
            guard case .open(let used, let capacity, _) = connection.phase else { continue }
            if used < capacity { return .use(connection.id) }
            if capacity == 0 { isHostFull = true }
        }
        if let penalty = self.backoff.penalty(at: now) {
            return self.connections.isEmpty ? .fail(penalty.failure) : .wait(until: penalty.until)
        }
        let connecting = self.connections.count { $0.phase == .connecting }
        let each = self.dialect == .http2 ? max(self.usualCapacity, 1) : 1
        let (expected, isMore) = connecting.multipliedReportingOverflow(by: each)
        guard !isHostFull, !isMore, self.connections.count < self.limit, expected < waiting else {
            return .wait(until: nil)
        }
        self.nextID += 1
        self.connections.append(Connection(id: self.nextID, dialect: self.dialect, phase: .connecting))
        return .connect(self.nextID, self.dialect)
    }

    /// A request was written on a connection.
    mutating func started(_ id: ConnectionID) { self.change(id) { used, _, _ in used += 1 } }

    /// A request on a connection is settled.
    ///
    /// Returns whether the connection is now one unused too many, and is to be closed.
    mutating func finished(_ id: ConnectionID, now: NIODeadline) -> Bool {
        self.change(id) { used, _, idleSince in
            used -= 1
            if used == 0 { idleSince = now }
        }
        guard self.idle.count > self.maximumIdle, self.idle.contains(id) else { return false }
        self.connections.removeAll { $0.id == id }
        return true
    }

    /// The host has answered in the dialect of a connection.
    mutating func answered(_ id: ConnectionID) {
        guard let connection = self.connections.first(where: { $0.id == id }) else { return }
        if connection.dialect == self.dialect { self.isDialectProven = true }
    }

    // MARK: Connections

    /// A connection takes requests.
    mutating func opened(_ id: ConnectionID, capacity: Int, now: NIODeadline) {
        guard let index = self.connections.firstIndex(where: { $0.id == id }) else { return }
        self.backoff.succeeded()
        if self.connections[index].dialect == .http2 { self.usualCapacity = capacity }
        self.connections[index].phase = .open(used: 0, capacity: capacity, idleSince: now)
    }

    /// A connection takes another number of requests at once than before.
    mutating func capacityChanged(_ id: ConnectionID, _ newCapacity: Int) {
        self.change(id) { _, capacity, _ in capacity = newCapacity }
        self.usualCapacity = newCapacity
    }

    /// A connection takes no more requests, or is gone.
    mutating func closed(_ id: ConnectionID) { self.connections.removeAll { $0.id == id } }

    /// A connection could not be opened, or was of no use.
    ///
    /// Returns whether those who wait have nothing left to wait for.
    mutating func failed(_ id: ConnectionID, _ failure: PlaneFailure, now: NIODeadline) -> Bool {
        self.closed(id)
        // The guess has not helped: the host is ill rather than old.
        if self.dialect == .http1, !self.isDialectProven { self.dialect = .http2 }
        self.backoff.failed(failure, now: now)
        return self.connections.isEmpty
    }

    /// The host did not answer in HTTP/2.
    ///
    /// - Parameters:
    ///   - id: the connection, which is gone.
    ///   - isCertain: whether it has answered in HTTP/1; otherwise it has only closed, or said nothing.
    /// - Returns: whether HTTP/1.1 is worth an attempt.
    mutating func notHTTP2(_ id: ConnectionID, isCertain: Bool) -> Bool {
        self.closed(id)
        switch self.dialect {
        case .http2 where isCertain || !self.isDialectProven:
            self.dialect = .http1
            self.isDialectProven = isCertain
            return true
        case .http2: return false
        case .http1:
            self.isDialectProven = self.isDialectProven || isCertain
            return true
        }
    }

    // MARK: Idle connections

    /// When the next unused connection has been kept long enough.
    var nextExpiry: NIODeadline? { self.idleTimes.min().map { $0 + self.idleTimeout } }

    /// Removes the connections that have been unused for too long; they are to be closed.
    mutating func expire(now: NIODeadline) -> [ConnectionID] {
        let expired = self.connections.filter { connection in
            guard case .open(0, _, let since) = connection.phase else { return false }
            return since + self.idleTimeout <= now
        }.map(\.id)
        self.connections.removeAll { expired.contains($0.id) }
        return expired
    }

    private var idle: [ConnectionID] {
        self.connections.compactMap { connection in
            if case .open(0, _, _) = connection.phase { connection.id } else { nil }
        }
    }

    private var idleTimes: [NIODeadline] {
        self.connections.compactMap { connection in
            if case .open(0, _, let since) = connection.phase { since } else { nil }
        }
    }

    private mutating func change(
        _ id: ConnectionID,
        _ body: (_ used: inout Int, _ capacity: inout Int, _ idleSince: inout NIODeadline) -> Void
    ) {
        guard let index = self.connections.firstIndex(where: { $0.id == id }),
            case .open(var used, var capacity, var idleSince) = self.connections[index].phase
        else { return }
        body(&used, &capacity, &idleSince)
        self.connections[index].phase = .open(used: used, capacity: capacity, idleSince: idleSince)
    }
}
