/// What a launcher has asked of a gateway in another process, and has not been answered yet.
///
/// A process may end and another one take its place: what can be asked again is.
package struct GatewayCalls<Waiter: Sendable>: Sendable {
    private struct Pending: Sendable {
        var call: GatewayCall
        var waiter: Waiter
    }

    private var next: UInt64 = 1
    private var pending: [Pending] = []
    private var isConnected = false
    /// Nothing will be answered any more.
    private var isOver = false
    /// What was set last.
    package private(set) var traffic: GatewayTraffic
    private var keepsSocketFiles = false

    package init(traffic: GatewayTraffic = GatewayTraffic()) { self.traffic = traffic }

    /// A number for a call that is about to be made.
    package mutating func reserve() -> UInt64 {
        defer { self.next += 1 }
        return self.next
    }

    /// Sets where requests go.
    ///
    /// - Returns: what is to be sent; nil: it is sent with the next connection.
    package mutating func set(_ traffic: GatewayTraffic) -> GatewayCall? {
        self.traffic = traffic
        return self.isConnected ? GatewayCall(id: 0, command: .setTraffic(traffic)) : nil
    }

    /// Has the files of Unix sockets kept, whichever process has the sockets.
    ///
    /// - Returns: as for ``set(_:)``.
    package mutating func keepSocketFiles() -> GatewayCall? {
        self.keepsSocketFiles = true
        return self.isConnected ? GatewayCall(id: 0, command: .keepSocketFiles) : nil
    }

    /// What becomes of a call.
    package enum Asked: Sendable, Hashable {
        case send(GatewayCall)
        /// For a connection.
        case wait
        /// Nobody will answer.
        case refused
    }

    /// Makes a call.
    package mutating func ask(_ id: UInt64, _ command: GatewayCommand, _ waiter: Waiter) -> Asked {
        guard !self.isOver else { return .refused }
        guard self.isConnected || command.canBeAskedAgain else { return .refused }
        let call = GatewayCall(id: id, command: command)
        self.pending.append(Pending(call: call, waiter: waiter))
        return self.isConnected ? .send(call) : .wait
    }

    /// Nobody waits for a call any more.
    ///
    /// - Returns: who has waited; nil when it is answered already.
    package mutating func abandon(_ id: UInt64) -> Waiter? {
        guard let index = self.pending.firstIndex(where: { $0.call.id == id }) else { return nil }
        return self.pending.remove(at: index).waiter
    }

    /// An answer has come.
    ///
    /// - Returns: who waits for it; nil when nobody does any more.
    package mutating func answered(_ id: UInt64) -> Waiter? { self.abandon(id) }

    /// There is a connection, to the same process or another one.
    ///
    /// - Parameter traffic: where it sends requests.
    /// - Returns: what is to be sent, in this order.
    package mutating func connected(to traffic: GatewayTraffic) -> [GatewayCall] {
        self.isConnected = true
        var calls: [GatewayCall] = []
        if traffic != self.traffic { calls.append(GatewayCall(id: 0, command: .setTraffic(self.traffic))) }
        if self.keepsSocketFiles { calls.append(GatewayCall(id: 0, command: .keepSocketFiles)) }
        return calls + self.pending.map(\.call)
    }

    /// The connection is gone.
    ///
    /// - Returns: who waits in vain.
    package mutating func disconnected() -> [Waiter] {
        self.isConnected = false
        let lost = self.pending.filter { !$0.call.command.canBeAskedAgain }
        self.pending.removeAll { !$0.call.command.canBeAskedAgain }
        return lost.map(\.waiter)
    }

    /// There will be no connection any more.
    ///
    /// - Returns: who waits in vain.
    package mutating func ended() -> [Waiter] {
        (self.isOver, self.isConnected) = (true, false)
        defer { self.pending = [] }
        return self.pending.map(\.waiter)
    }
}

/// When a process that ends again and again is given up.
package struct CrashLoop: Sendable, Hashable {
    /// So many ends within so much time are too many.
    package static let limit = 5
    package static let window = Duration.seconds(60)

    private var ends: [ContinuousClock.Instant] = []

    package init() {}

    /// What to do after an end.
    package enum Decision: Sendable, Hashable {
        case startAgain(after: Duration)
        case giveUp
    }

    /// It has ended.
    package mutating func ended(at now: ContinuousClock.Instant) -> Decision {
        self.ends.removeAll { now - $0 > Self.window }
        self.ends.append(now)
        guard self.ends.count < Self.limit else { return .giveUp }
        // At once the first time: clients wait.
        return .startAgain(after: .milliseconds(self.ends.count == 1 ? 0 : 100 << self.ends.count))
    }
}
