package import NIOCore
package import RequestPlane

/// Decides which connection to an instance's host takes the next request, and when to open another one.
///
/// A connection is filled before another one is opened, up to the pool's size. After a failed attempt there is none for a short while
/// that doubles with each further failure, so that a dead host is not hammered. Without any connection requests fail at once during that
/// time, so that their callers can turn to another instance; else they wait for a place.
package struct TCPPoolState: Sendable, Hashable {
    package typealias ConnectionID = Int

    private let limit: Int
    private let capacity: Int
    private var connections: [Connection] = []
    private var nextID: ConnectionID = 0
    private var backoff = ConnectBackoff()

    private struct Connection: Hashable {
        var id: ConnectionID
        var phase: Phase
    }

    private enum Phase: Hashable {
        case connecting
        case ready
        case busy
    }

    package enum Placement: Hashable {
        /// Write the request on this connection.
        case use(ConnectionID)
        /// Open a connection, then ask again.
        case connect(ConnectionID)
        /// Wait until a connection is ready, and ask again at the given time if there is one.
        case wait(until: NIODeadline?)
        /// The host is not reachable just now.
        case fail(PlaneFailure)
    }

    /// Creates the state of a host that nobody has called yet.
    ///
    /// - Parameters:
    ///   - limit: how many connections there may be.
    ///   - capacity: how many requests one connection takes.
    package init(limit: Int, capacity: Int) {
        self.limit = limit
        self.capacity = capacity
    }

    package var isEmpty: Bool { self.connections.isEmpty }

    /// Where the first of `waiting` requests goes.
    package mutating func place(waiting: Int, now: NIODeadline) -> Placement {
        if let ready = self.connections.first(where: { $0.phase == .ready }) { return .use(ready.id) }
        if let penalty = self.backoff.penalty(at: now) {
            return self.connections.isEmpty ? .fail(penalty.failure) : .wait(until: penalty.until)
        }
        let connecting = self.connections.count { $0.phase == .connecting }
        guard self.connections.count < self.limit, connecting * self.capacity < waiting else {
            return .wait(until: nil)
        }
        self.nextID += 1
        self.connections.append(Connection(id: self.nextID, phase: .connecting))
        return .connect(self.nextID)
    }

    /// A connection is open, and takes requests or not.
    package mutating func update(_ id: ConnectionID, isReady: Bool) {
        guard let index = self.connections.firstIndex(where: { $0.id == id }) else { return }
        if self.connections[index].phase == .connecting { self.backoff.succeeded() }
        self.connections[index].phase = isReady ? .ready : .busy
    }

    /// A connection is gone.
    package mutating func closed(_ id: ConnectionID) { self.connections.removeAll { $0.id == id } }

    /// A connection could not be opened.
    ///
    /// Returns whether those who wait have nothing left to wait for.
    package mutating func failed(_ id: ConnectionID, _ failure: PlaneFailure, now: NIODeadline) -> Bool {
        self.closed(id)
        self.backoff.failed(failure, now: now)
        return self.connections.isEmpty
    }
}
