import NIOCore
import NIOPosix

/// What belongs to one event loop: idle connections to backends, so that a request never changes its thread.
final class Lane {
    /// Limits of time that every request needs, in NIO's unit.
    struct Times {
        let header, body, idle, patience: TimeAmount

        init(_ configuration: GatewayConfiguration) {
            self.header = TimeAmount(configuration.limits.headerTimeout)
            self.body = TimeAmount(configuration.limits.bodyTimeout)
            self.idle = TimeAmount(configuration.limits.idleTimeout)
            self.patience = TimeAmount(configuration.hold.patience)
        }
    }

    let core: GatewayCore
    let eventLoop: any EventLoop
    let times: Times
    var names = NameGenerator()
    /// Idle connections by slot, the one used last at the end.
    private var idle: [Int: [BackendConnection]] = [:]
    /// Slots below are gone, or were never there; kept so that a connection of a slot that is gone is not kept.
    private var retired: Set<Int> = []
    private var sweep: Scheduled<Void>?

    init(core: GatewayCore, eventLoop: any EventLoop) {
        self.core = core
        self.eventLoop = eventLoop
        self.times = Times(core.configuration)
    }

    // MARK: Idle connections

    /// Takes the idle connection that was used last, if there is one that can be used.
    func takeIdle(_ slot: Int) -> BackendConnection? {
        let now = NIODeadline.now()
        while let connection = self.idle[slot]?.popLast() {
            if connection.isUsable(now: now) { return connection }
            connection.close()
        }
        return nil
    }

    func giveBack(_ connection: BackendConnection) {
        let limit = self.core.configuration.upstream.maximumIdleConnections
        guard !self.retired.contains(connection.slot), self.idle[connection.slot, default: []].count < limit else {
            return connection.close()
        }
        self.idle[connection.slot, default: []].append(connection)
        self.scheduleSweep()
    }

    /// A connection was closed.
    func forget(_ connection: BackendConnection) {
        self.idle[connection.slot]?.removeAll { $0 === connection }
    }

    /// A slot is gone: its idle connections are closed, and those that serve a request will be.
    func retire(_ slot: Int) {
        self.retired.insert(slot)
        for connection in self.idle.removeValue(forKey: slot) ?? [] { connection.close() }
    }

    func closeIdle() {
        self.sweep?.cancel()
        for slot in Array(self.idle.keys) {
            for connection in self.idle.removeValue(forKey: slot) ?? [] { connection.close() }
        }
    }

    /// Closes what was idle too long, now and then: backends do not like to be left waiting.
    private func scheduleSweep() {
        guard self.sweep == nil else { return }
        let bound = NIOLoopBound(self, eventLoop: self.eventLoop)
        self.sweep = self.eventLoop.scheduleTask(in: .milliseconds(500)) {
            let lane = bound.value
            lane.sweep = nil
            let limit = NIODeadline.now() - TimeAmount(lane.core.configuration.upstream.idleLifetime)
            for (slot, connections) in lane.idle {
                // The one that is idle longest comes first.
                let old = connections.prefix { $0.idleSince < limit }
                lane.idle[slot]?.removeFirst(old.count)
                for connection in old { connection.close() }
            }
            if lane.idle.values.contains(where: { !$0.isEmpty }) { lane.scheduleSweep() }
        }
    }

    // MARK: New connections

    /// Connects to a backend.
    ///
    /// - Parameters:
    ///   - assignment: which.
    ///   - completion: called on this event loop with the connection, or why there is none.
    func connect(
        _ assignment: Traffic<Waiter>.Assignment,
        _ completion: @escaping (Result<BackendConnection, any Error>) -> Void
    ) {
        let backend = assignment.backend
        let bound = NIOLoopBound(BackendConnection(slot: assignment.slot, lane: self), eventLoop: self.eventLoop)
        let bootstrap = ClientBootstrap(group: self.eventLoop)
            .connectTimeout(TimeAmount(self.core.configuration.upstream.connectTimeout))
            .channelOption(.autoRead, value: false)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(bound.value)
                }
            }
        // A literal needs no resolver, which would take a thread.
        let future =
            if let address = try? SocketAddress(ipAddress: backend.host, port: backend.port) {
                bootstrap.connect(to: address)
            } else {
                bootstrap.connect(host: backend.host, port: backend.port)
            }
        future.map { _ in }.assumeIsolated().whenComplete { result in
            completion(result.map { bound.value })
        }
    }
}
