import Logging
import NIOCore
import NIOPosix
import RequestPlane

/// The request connections to one host and port, all on one event loop.
final class TCPHostPool: Sendable {
    private let eventLoop: any EventLoop
    private let core: NIOLoopBoundBox<Core>

    init(
        target: HostPort,
        configuration: TCPConfiguration,
        security: ConnectionSecurity,
        eventLoop: any EventLoop,
        logger: Logger
    ) {
        self.eventLoop = eventLoop
        self.core = .makeBoxSendingValue(
            Core(
                target: target,
                configuration: configuration,
                security: security,
                eventLoop: eventLoop,
                logger: logger
            ),
            eventLoop: eventLoop
        )
    }

    /// Sends a request as soon as a connection takes it.
    func submit(_ call: TCPCall) { self.eventLoop.execute { self.core.value.submit(call) } }

    /// Fails what waits and closes every connection.
    func close() { self.eventLoop.execute { self.core.value.close() } }
}

// MARK: - On the event loop

extension TCPHostPool {
    fileprivate final class Core {
        private let target: HostPort
        private let configuration: TCPConfiguration
        private let security: ConnectionSecurity
        private let eventLoop: any EventLoop
        private let logger: Logger
        private var state: TCPPoolState
        private var waiting = CircularBuffer<TCPCall>()
        private var connections: [TCPPoolState.ConnectionID: TCPClientHandler] = [:]
        /// The TLS handshakes of connections that are being opened.
        private var handshakes: [TCPPoolState.ConnectionID: EventLoopFuture<Void>] = [:]
        private var timer: (task: Scheduled<Void>, deadline: NIODeadline)?
        private var isClosed = false

        init(
            target: HostPort,
            configuration: TCPConfiguration,
            security: ConnectionSecurity,
            eventLoop: any EventLoop,
            logger: Logger
        ) {
            self.target = target
            self.configuration = configuration
            self.security = security
            self.eventLoop = eventLoop
            self.logger = logger
            self.state = TCPPoolState(limit: configuration.poolSize, capacity: configuration.channelBuffer)
        }

        func submit(_ call: TCPCall) {
            guard !self.isClosed else { return call.fail(PlaneFailure(.unavailable, "this process is shutting down")) }
            self.waiting.append(call)
            self.pump()
        }

        func close() {
            self.isClosed = true
            self.failWaiting(PlaneFailure(.unavailable, "this process is shutting down"))
            for connection in self.connections.values { connection.close() }
        }

        /// Hands waiting requests to connections until there is no place or nobody waits.
        private func pump() {
            self.dropUnwanted()
            while let call = self.waiting.first {
                switch self.state.place(waiting: self.waiting.count, now: .now()) {
                case .use(let id):
                    self.waiting.removeFirst()
                    guard let connection = self.connections[id], connection.send(call) else {
                        self.state.update(id, isReady: false)
                        self.waiting.prepend(call)
                        continue
                    }
                    self.state.update(id, isReady: connection.isReady)
                case .connect(let id): self.connect(id)
                case .wait(let until):
                    self.setTimer(min(call.deadline, until ?? call.deadline))
                    return
                case .fail(let failure): self.failWaiting(failure)
                }
                self.dropUnwanted()
            }
        }

        private func dropUnwanted() {
            let now = NIODeadline.now()
            while let call = self.waiting.first {
                if call.isCancelled {
                    call.fail(PlaneFailure(.cancelled, "the caller cancelled the request"))
                } else if call.deadline <= now {
                    let seconds = self.configuration.requestTimeout
                    call.fail(
                        PlaneFailure(.timedOut, "no connection to \(self.target) took the request within \(seconds)")
                    )
                } else {
                    return
                }
                self.waiting.removeFirst()
            }
        }

        private func failWaiting(_ failure: PlaneFailure) {
            let calls = self.waiting
            self.waiting.removeAll()
            for call in calls { call.fail(failure) }
        }

        private func setTimer(_ deadline: NIODeadline) {
            if let timer = self.timer {
                guard deadline < timer.deadline else { return }
                timer.task.cancel()
            }
            let core = NIOLoopBound(self, eventLoop: self.eventLoop)
            let task = self.eventLoop.scheduleTask(deadline: deadline) {
                core.value.timer = nil
                core.value.pump()
            }
            self.timer = (task, deadline)
        }

        private func connect(_ id: TCPPoolState.ConnectionID) {
            let core = NIOLoopBound(self, eventLoop: self.eventLoop)
            let configuration = self.configuration
            let bootstrap = ClientBootstrap(group: self.eventLoop)
                .connectTimeout(TimeAmount(configuration.connectTimeout))
                .connectionOptions(.requestConnection)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pool = core.value
                        let secured = try pool.security.secureOpened(channel, host: pool.target.host)
                        let handler = TCPClientHandler(
                            configuration: configuration,
                            target: pool.target,
                            onChange: { core.value.changed(id, $0) },
                            onRetry: { core.value.submit($0) },
                            onClose: { core.value.closed(id, hasServed: $0, reason: $1) }
                        )
                        try channel.pipeline.syncOperations.addHandler(handler)
                        pool.connections[id] = handler
                        pool.handshakes[id] = secured
                    }
                }
            let future =
                if let address = try? SocketAddress(ipAddress: self.target.host, port: self.target.port) {
                    bootstrap.connect(to: address)
                } else {
                    bootstrap.connect(host: self.target.host, port: self.target.port)
                }
            future.hop(to: self.eventLoop).whenComplete { result in
                let handshake = core.value.handshakes.removeValue(forKey: id)
                switch result {
                case .success:
                    guard let handshake else { return core.value.connected(id, .success(())) }
                    handshake.whenComplete { core.value.connected(id, $0) }
                case .failure(let error): core.value.connected(id, .failure(error))
                }
            }
        }

        private func connected(_ id: TCPPoolState.ConnectionID, _ result: Result<Void, any Error>) {
            switch result {
            case .success:
                if self.isClosed { self.connections[id]?.close() }
                self.state.update(id, isReady: self.connections[id]?.isReady ?? false)
                self.pump()
            case .failure(let error):
                self.connections[id] = nil
                self.logger.debug("cannot connect", metadata: ["target": "\(self.target)", "reason": "\(error)"])
                let failure = PlaneFailure(.connectFailed, "cannot connect to \(self.target): \(error)")
                if self.state.failed(id, failure, now: .now()) { self.failWaiting(failure) } else { self.pump() }
            }
        }

        private func changed(_ id: TCPPoolState.ConnectionID, _ isReady: Bool) {
            self.state.update(id, isReady: isReady)
            if isReady, !self.waiting.isEmpty { self.pump() }
        }

        /// A connection that ends before it has served counts as a failed attempt, so that such a host is not hammered.
        private func closed(_ id: TCPPoolState.ConnectionID, hasServed: Bool, reason: String?) {
            // A connection that never opened is reported by its connect future.
            guard self.connections.removeValue(forKey: id) != nil else { return }
            if hasServed {
                self.state.closed(id)
            } else {
                let reason = reason.map { ": \($0)" } ?? ""
                let failure = PlaneFailure(
                    .connectFailed,
                    "\(self.target) closes connections without an answer\(reason)"
                )
                if self.state.failed(id, failure, now: .now()) { self.failWaiting(failure) }
            }
            if !self.waiting.isEmpty { self.pump() }
        }
    }
}
