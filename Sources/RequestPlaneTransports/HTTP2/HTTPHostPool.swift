import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import RequestPlane

/// The connections to one host and port, all on one event loop.
final class HTTPHostPool: Sendable {
    private let eventLoop: any EventLoop
    private let core: NIOLoopBoundBox<Core>

    init(target: HostPort, configuration: HTTPConfiguration, eventLoop: any EventLoop, logger: Logger) {
        self.eventLoop = eventLoop
        self.core = .makeBoxSendingValue(
            Core(target: target, configuration: configuration, eventLoop: eventLoop, logger: logger),
            eventLoop: eventLoop
        )
    }

    /// Sends a request as soon as a connection takes it.
    func submit(_ call: HTTPCall) { self.eventLoop.execute { self.core.value.submit(call) } }

    /// Fails what waits and closes every connection.
    func close() { self.eventLoop.execute { self.core.value.close() } }
}

// MARK: - On the event loop

extension HTTPHostPool {
    fileprivate final class Core {
        private let target: HostPort
        private let configuration: HTTPConfiguration
        private let eventLoop: any EventLoop
        private let logger: Logger
        private var state: HTTPPoolState
        private var limit = HTTPBodyLimit()
        private var waiting = CircularBuffer<HTTPExchange>()
        /// Calls that are too large to be sent before the host's limit is known.
        private var large: [HTTPCall] = []
        private var connections: [HTTPPoolState.ConnectionID: any HTTPClientConnection] = [:]
        private var timer: (task: Scheduled<Void>, deadline: NIODeadline)?
        private var idleTimer: Scheduled<Void>?
        private var isClosed = false

        init(target: HostPort, configuration: HTTPConfiguration, eventLoop: any EventLoop, logger: Logger) {
            self.target = target
            self.configuration = configuration
            self.eventLoop = eventLoop
            self.logger = logger
            self.state = HTTPPoolState(
                limit: configuration.poolSize,
                maximumIdle: configuration.poolMaximumIdle,
                idleTimeout: TimeAmount(configuration.poolIdleTimeout)
            )
        }

        func submit(_ call: HTTPCall) {
            guard !self.isClosed else { return call.fail(PlaneFailure(.unavailable, "this process is shutting down")) }
            switch self.limit.judge(call.request.size) {
            case .send: self.waiting.append(HTTPExchange(call))
            case .ask:
                self.large.append(call)
                self.waiting.append(HTTPExchange(optionsOf: call.request.url, deadline: call.deadline))
            case .wait: self.large.append(call)
            case .refuse(let failure): return call.fail(failure)
            }
            self.pump()
        }

        func close() {
            self.isClosed = true
            self.timer?.task.cancel()
            self.idleTimer?.cancel()
            self.failWaiting(PlaneFailure(.unavailable, "this process is shutting down"))
            for connection in self.connections.values { connection.close() }
        }

        // MARK: Waiting requests

        /// Hands waiting requests to connections until there is no place or nobody waits.
        private func pump() {
            self.dropUnwanted()
            while let exchange = self.waiting.first {
                switch self.state.place(waiting: self.waiting.count, now: .now()) {
                case .use(let id):
                    self.waiting.removeFirst()
                    guard let connection = self.connections[id] else {
                        self.state.closed(id)
                        self.waiting.prepend(exchange)
                        continue
                    }
                    self.state.started(id)
                    if !connection.send(exchange) {
                        // It is ending, and will say so; until then nothing else goes there.
                        self.state.closed(id)
                        self.waiting.prepend(exchange)
                    }
                case .connect(let id, let dialect): self.connect(id, dialect)
                case .wait(let until):
                    self.setTimer(min(exchange.deadline, until ?? exchange.deadline))
                    return
                case .fail(let failure): self.failWaiting(failure)
                }
                self.dropUnwanted()
            }
        }

        private func dropUnwanted() {
            let now = NIODeadline.now()
            while let exchange = self.waiting.first {
                if exchange.call?.isCancelled == true {
                    self.settle(exchange, .failed(PlaneFailure(.cancelled, "the caller cancelled the request")))
                } else if exchange.deadline <= now {
                    let time = self.configuration.requestTimeout
                    let text = "no connection to \(self.target) took the request within \(time)"
                    self.settle(exchange, .failed(PlaneFailure(.timedOut, text)))
                } else {
                    return
                }
                self.waiting.removeFirst()
            }
        }

        private func failWaiting(_ failure: PlaneFailure) {
            let exchanges = self.waiting
            self.waiting.removeAll()
            for exchange in exchanges { self.settle(exchange, .failed(failure)) }
            let calls = self.large
            self.large = []
            for call in calls { call.fail(failure) }
            if !calls.isEmpty { self.limit.forget() }
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

        // MARK: Outcomes

        private func settle(_ exchange: HTTPExchange, _ outcome: HTTPConnectionEvent.Outcome) {
            if case .response(let response) = outcome { self.limit.learn(response.maximumBody) }
            if let call = exchange.call {
                self.settle(call, outcome)
            } else {
                self.settleQuestion(exchange, outcome)
            }
        }

        private func settle(_ call: HTTPCall, _ outcome: HTTPConnectionEvent.Outcome) {
            switch outcome {
            case .response(let response):
                let reason = HTTPResponseStatus(statusCode: response.status).reasonPhrase
                if let failure = response.failure(reason: reason) { call.fail(failure) } else { call.acknowledged() }
            case .unprocessed(let failure):
                guard let again = call.secondAttempt else { return call.fail(failure) }
                // Not from within: whoever reports the outcome may be about to close.
                let core = NIOLoopBound(self, eventLoop: self.eventLoop)
                self.eventLoop.execute { core.value.submit(again) }
            case .failed(let failure): call.fail(failure)
            }
        }

        /// The host has said how large a body it takes, or nothing at all.
        private func settleQuestion(_ exchange: HTTPExchange, _ outcome: HTTPConnectionEvent.Outcome) {
            let calls = self.large
            self.large = []
            switch outcome {
            case .response: for call in calls { self.submit(call) }
            case .unprocessed(let failure), .failed(let failure):
                self.limit.forget()
                for call in calls {
                    guard failure.code != .cancelled, let again = call.secondAttempt, case .unprocessed = outcome else {
                        call.fail(failure)
                        continue
                    }
                    self.submit(again)
                }
            }
        }

        // MARK: Connections

        private func connect(_ id: HTTPPoolState.ConnectionID, _ dialect: HTTPPoolState.Dialect) {
            let core = NIOLoopBound(self, eventLoop: self.eventLoop)
            let configuration = self.configuration
            let bootstrap = ClientBootstrap(group: self.eventLoop)
                .connectTimeout(TimeAmount(configuration.connectTimeout))
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try core.value.install(id, dialect, in: channel) }
                }
            let future =
                if let address = try? SocketAddress(ipAddress: self.target.host, port: self.target.port) {
                    bootstrap.connect(to: address)
                } else {
                    bootstrap.connect(host: self.target.host, port: self.target.port)
                }
            future.hop(to: self.eventLoop).whenComplete { result in core.value.connected(id, result) }
        }

        private func install(
            _ id: HTTPPoolState.ConnectionID,
            _ dialect: HTTPPoolState.Dialect,
            in channel: any Channel
        ) throws {
            let onEvent: (HTTPConnectionEvent) -> Void = { self.handle($0, of: id) }
            switch dialect {
            case .http2:
                let handler = HTTP2ClientHandler(
                    target: self.target,
                    configuration: self.configuration,
                    onEvent: onEvent
                )
                try handler.install(in: channel)
                self.connections[id] = handler
            case .http1:
                let handler = HTTP1ClientHandler(target: self.target, onEvent: onEvent)
                try handler.install(in: channel)
                self.connections[id] = handler
            }
        }

        private func connected(_ id: HTTPPoolState.ConnectionID, _ result: Result<any Channel, any Error>) {
            switch result {
            case .success:
                if self.isClosed { self.connections[id]?.close() }
            case .failure(let error):
                self.connections[id] = nil
                self.logger.debug("cannot connect", metadata: ["target": "\(self.target)", "reason": "\(error)"])
                self.failed(id, PlaneFailure(.connectFailed, "cannot connect to \(self.target): \(error)"))
            }
        }

        private func handle(_ event: HTTPConnectionEvent, of id: HTTPPoolState.ConnectionID) {
            switch event {
            case .opened(let capacity):
                self.state.opened(id, capacity: capacity, now: .now())
                self.pump()
                self.setIdleTimer()
            case .capacityChanged(let capacity):
                self.state.capacityChanged(id, capacity)
                self.pump()
            case .retired:
                self.state.closed(id)
                self.pump()
            case .settled(let exchange, let outcome):
                if case .response = outcome { self.state.answered(id) }
                let isSurplus = self.state.finished(id, now: .now())
                self.settle(exchange, outcome)
                if isSurplus { self.connections[id]?.close() }
                self.pump()
                self.setIdleTimer()
            case .notHTTP2(let isCertain):
                guard self.connections.removeValue(forKey: id) != nil else { return }
                self.logger.debug("no HTTP/2", metadata: ["target": "\(self.target)", "certain": "\(isCertain)"])
                if self.state.notHTTP2(id, isCertain: isCertain) {
                    self.pump()
                } else {
                    self.failed(id, PlaneFailure(.connectFailed, "\(self.target) closes connections without an answer"))
                }
            case .closed(let hasServed):
                // A connection that never opened is reported by its connect future.
                guard self.connections.removeValue(forKey: id) != nil else { return }
                let isMissed = self.state.contains(id)
                self.state.closed(id)
                if self.connections.isEmpty { self.limit.forget() }
                if hasServed || !isMissed {
                    self.pump()
                } else {
                    self.failed(id, PlaneFailure(.connectFailed, "\(self.target) closes connections without an answer"))
                }
            }
        }

        /// A connection that ends before it has served counts as a failed attempt, so that such a host is not hammered.
        private func failed(_ id: HTTPPoolState.ConnectionID, _ failure: PlaneFailure) {
            if self.state.failed(id, failure, now: .now()) { self.failWaiting(failure) } else { self.pump() }
        }

        // MARK: Idle connections

        private func setIdleTimer() {
            guard self.idleTimer == nil, !self.isClosed, let deadline = self.state.nextExpiry else { return }
            let core = NIOLoopBound(self, eventLoop: self.eventLoop)
            self.idleTimer = self.eventLoop.scheduleTask(deadline: deadline) {
                core.value.idleTimer = nil
                for id in core.value.state.expire(now: .now()) { core.value.connections[id]?.close() }
                core.value.setIdleTimer()
            }
        }
    }
}
