import NIOCore
import NIOPosix

/// Idle connections to one slot; each of them knows where it belongs.
final class IdleConnections {
    /// The one used last at the end.
    var list: [BackendConnection] = []
    /// The slot is gone: none is kept any more.
    var isRetired = false

    func takeAll() -> [BackendConnection] {
        defer { self.list = [] }
        return self.list
    }
}

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
    private var idle: [Int: IdleConnections] = [:]
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
        guard let idle = self.idle[slot], !idle.list.isEmpty else { return nil }
        let now = NIODeadline.now()
        while let connection = idle.list.popLast() {
            if connection.isUsable(now: now) { return connection }
            connection.close()
        }
        return nil
    }

    func giveBack(_ connection: BackendConnection) {
        let limit = self.core.configuration.upstream.maximumIdleConnections
        guard !connection.idle.isRetired, connection.idle.list.count < limit else { return connection.close() }
        connection.idle.list.append(connection)
        self.scheduleSweep()
    }

    /// A connection was closed.
    func forget(_ connection: BackendConnection) {
        connection.idle.list.removeAll { $0 === connection }
    }

    /// A slot is gone: its idle connections are closed, and those that serve a request will be.
    func retire(_ slot: Int) {
        self.retired.insert(slot)
        guard let idle = self.idle.removeValue(forKey: slot) else { return }
        idle.isRetired = true
        for connection in idle.takeAll() { connection.close() }
    }

    func closeIdle() {
        self.sweep?.cancel()
        for idle in self.idle.values { for connection in idle.takeAll() { connection.close() } }
    }

    /// Where connections to a slot wait.
    private func idleConnections(_ slot: Int) -> IdleConnections {
        if let idle = self.idle[slot] { return idle }
        let idle = IdleConnections()
        idle.isRetired = self.retired.contains(slot)
        if !idle.isRetired { self.idle[slot] = idle }
        return idle
    }

    /// Closes what was idle too long, now and then: backends do not like to be left waiting.
    private func scheduleSweep() {
        guard self.sweep == nil else { return }
        let bound = NIOLoopBound(self, eventLoop: self.eventLoop)
        self.sweep = self.eventLoop.scheduleTask(in: .milliseconds(500)) {
            let lane = bound.value
            lane.sweep = nil
            let limit = NIODeadline.now() - TimeAmount(lane.core.configuration.upstream.idleLifetime)
            for idle in lane.idle.values {
                // The one that is idle longest comes first.
                let old = idle.list.prefix { $0.idleSince < limit }
                idle.list.removeFirst(old.count)
                for connection in old { connection.close() }
            }
            if lane.idle.values.contains(where: { !$0.list.isEmpty }) { lane.scheduleSweep() }
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
        let bound = NIOLoopBound(
            BackendConnection(idle: self.idleConnections(assignment.slot), lane: self),
            eventLoop: self.eventLoop
        )
        self.connect(assignment.backend, bound).assumeIsolated().whenComplete { result in
            completion(result.map { bound.value })
        }
    }

    /// Asks a backend on a connection of its own whether it is well.
    ///
    /// - Parameters:
    ///   - backend: which.
    ///   - completion: called once on this event loop.
    func probe(_ backend: Backend, _ completion: @escaping (Bool) -> Void) {
        let probe = HealthProbe(backend, self.core.configuration.upstream, completion)
        let bound = NIOLoopBound(probe, eventLoop: self.eventLoop)
        self.connect(backend, bound).assumeIsolated().whenFailure { _ in bound.value.finish(false) }
    }

    private func connect(
        _ backend: Backend,
        _ bound: NIOLoopBound<some ChannelInboundHandler>
    ) -> EventLoopFuture<Void> {
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
        return future.map { _ in }
    }
}
