import NIOCore

/// One connection of a client: reads its requests, one after the other, and passes each to a backend and its answer back.
///
///     reading ─► held ─► connecting ─► exchanging ─► reading
///        │         │          │             ├──────► tunnel          after 101
///        └─────────┴──────────┴─────────────┴──────► lingering       the answer is the last one
final class ClientConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        /// Waits for a request, or reads its head.
        case reading
        /// The request waits until there is a backend.
        case held(UInt64)
        case connecting
        case exchanging
        /// Everything is said: what still comes is thrown away, so that closing does not take the answer back.
        case lingering
        case tunnel
        case closed
    }

    /// Bytes of later requests that are read while one is answered.
    private static let readAhead = 64 * 1024
    /// How long a connection waits for a next request before it ends for good.
    static let drainPause = Duration.milliseconds(250)
    /// The same for its first request: whoever connects wants something.
    static let firstRequestPause = Duration.seconds(2)

    let lane: Lane
    let peer: Peer
    var core: GatewayCore { self.lane.core }
    var limits: GatewayLimits { self.lane.core.configuration.limits }
    var context: ChannelHandlerContext?
    var reader: RequestReader
    var phase = Phase.reading
    var exchange: Exchange?
    var isDraining = false
    private var isPumping = false
    private var isReadHeld = false
    /// A read was asked for, and nothing has come since.
    private var isReadPending = false
    var isInputClosed = false
    /// The other side of a tunnel has ended.
    var isTunnelEnded = false
    var requestCount: UInt64 = 0
    var timer = LazyTimer()
    var stall = StallWatch()
    var stallCheck: Scheduled<Void>?

    init(lane: Lane, peer: Peer) {
        self.lane = lane
        self.peer = peer
        let limits = lane.core.configuration.limits
        self.reader = RequestReader(
            headLimit: limits.maximumHeaderBytes,
            targetLimit: limits.maximumTargetBytes,
            bodyLimit: limits.maximumBodyBytes
        )
    }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.timer.cancel()
        self.stallCheck?.cancel()
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        self.expect(within: self.limits.headerTimeout)
        self.isDraining = self.core.isDraining
        if self.core.connections.count > self.limits.maximumConnections {
            self.refuse(
                Refusal(
                    503,
                    "too_many_connections",
                    "\(self.limits.maximumConnections) connections are open, the gateway's limit; try again",
                    retryAfter: 1
                ),
                isLast: true
            )
        }
        self.isReadPending = true
        context.read()
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        switch self.phase {
        case .lingering, .closed: return
        case .tunnel:
            self.exchange?.backend?.write(bytes)
            return
        case .reading:
            let isNew = !self.reader.isInsideHead
            self.reader.append(bytes)
            if isNew { self.expect(in: self.lane.times.header) }
        case .held, .connecting, .exchanging: self.reader.append(bytes)
        }
        self.pump()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isReadPending = false
        self.exchange?.backend?.flush()
        self.readOn()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard context.channel.isWritable else { return self.watchForStall() }
        self.stall.end()
        self.exchange?.backend?.resumeReading()
        guard case .reading = self.phase else { return }
        self.pump()
        self.exchange?.backend?.flush()
        self.readOn()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            self.quiesce()
        } else if let event = event as? ChannelEvent, event == .inputClosed {
            self.isInputClosed = true
            // A client that has ended its side waits for nothing more: the system cannot tell one that only half closed from one
            // that has left, and a generation that nobody reads is too dear. Only in a tunnel both directions are on their own.
            if case .tunnel = self.phase { self.exchange?.backend?.closeOutput() } else { self.clientLeft() }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { self.clientLeft() }

    func channelInactive(context: ChannelHandlerContext) {
        self.clientLeft()
        context.fireChannelInactive()
    }

    // MARK: Reading

    /// Takes out of the buffer what the phase allows.
    func pump() {
        guard !self.isPumping else { return }
        self.isPumping = true
        defer { self.isPumping = false }
        do throws(Refusal) {
            while self.wantsEvents, let event = try self.reader.next() {
                switch event {
                case .head(let head): self.begin(head)
                case .body(let bytes):
                    self.exchange?.note(bytes)
                    self.exchange?.backend?.write(bytes)
                    self.expect(in: self.lane.times.body)
                case .end:
                    self.exchange?.isRequestComplete = true
                    self.timer.stop()
                }
            }
        } catch {
            self.requestIsBroken(error)
        }
    }

    private var wantsEvents: Bool {
        switch self.phase {
        // Who sends requests and reads no answers waits.
        case .reading: self.isWritable
        case .exchanging: !self.isRequestComplete
        case .held, .connecting, .lingering, .tunnel, .closed: false
        }
    }

    /// Reads more, unless what was read has nowhere to go.
    func readOn() {
        guard let context = self.context, !self.isInputClosed else { return }
        let wants =
            switch self.phase {
            case .reading: self.isWritable
            case .lingering: true
            case .held, .closed: false
            case .connecting: self.reader.bufferedBytes < Self.readAhead
            case .exchanging:
                self.isRequestComplete
                    ? self.reader.bufferedBytes < Self.readAhead : self.exchange?.backend?.isWritable ?? false
            case .tunnel: self.exchange?.backend?.isWritable ?? false
            }
        self.isReadHeld = !wants
        guard wants, !self.isReadPending else { return }
        self.isReadPending = true
        context.read()
    }

    /// The backend can take more.
    func backendIsWritable() { if self.isReadHeld { self.readOn() } }

    // MARK: A request

    private func begin(_ request: RequestHead) {
        let now = NIODeadline.now()
        let (head, id) = request.forBackend(self.peer, &self.lane.names)
        let exchange = Exchange(
            request,
            number: self.requestCount,
            head: head,
            requestID: id,
            started: now,
            patience: self.lane.times.patience
        )
        self.requestCount += 1
        if self.isDraining { exchange.closesAfter = true }
        if request.framing == .none {
            // Its end follows at once, and cannot fail.
            _ = try? self.reader.next()
            exchange.isRequestComplete = true
            self.timer.stop()
        } else {
            self.expect(in: self.lane.times.body)
        }
        self.exchange = exchange
        self.dispatch(isReturned: false, now)
    }

    /// Asks for a place at a backend.
    private func dispatch(isReturned: Bool, _ now: NIODeadline) {
        guard let exchange = self.exchange else { return }
        let decision = self.core.arrive(
            Waiter(self, exchange.number),
            bytes: exchange.sentBytes + self.reader.bufferedBytes,
            deadline: isReturned ? exchange.deadline : nil,
            generation: exchange.generation,
            now: now
        )
        switch decision {
        case .send(let assignment): self.start(assignment, now)
        case .hold(let id):
            self.phase = .held(id)
            self.timer.stop()
        case .refuse(let refusal): self.refuse(refusal)
        }
    }

    /// The request has its place.
    private func start(_ assignment: Traffic<Waiter>.Assignment, _ now: NIODeadline) {
        guard let exchange = self.exchange else { return }
        exchange.begin(at: assignment, now: now)
        if !exchange.hasRetried, let connection = self.lane.takeIdle(assignment.slot) {
            return self.attach(connection)
        }
        self.phase = .connecting
        self.lane.connect(assignment) { self.connected($0, assignment) }
    }

    private func connected(
        _ result: Result<BackendConnection, any Error>,
        _ assignment: Traffic<Waiter>.Assignment
    ) {
        guard case .connecting = self.phase, self.exchange?.assignment == assignment else {
            if case .success(let connection) = result { connection.close() }
            return
        }
        switch result {
        case .success(let connection):
            self.attach(connection)
            self.pump()
            self.exchange?.backend?.flush()
            self.readOn()
        case .failure(let error):
            self.core.logFailure(assignment.backend, "connecting failed: \(error)", self.exchange?.requestID)
            self.finish(.failed(.connect))
            self.dispatch(isReturned: true, .now())
            // Another backend's connection may have been there at once, and what was read already goes to it.
            self.pump()
            self.exchange?.backend?.flush()
            self.readOn()
        }
    }

    /// Sends what was sent before, if anything, and whatever comes.
    private func attach(_ connection: BackendConnection) {
        guard let exchange = self.exchange, let head = exchange.sentHead else { return }
        self.phase = .exchanging
        self.exchange?.backend = connection
        connection.begin(
            self,
            head: head,
            answersHead: exchange.request.isHead,
            unframes: exchange.request.isHTTP10
        )
        for bytes in exchange.sentBody { connection.write(bytes) }
        if !exchange.isRequestComplete { self.expect(in: self.lane.times.body) }
        // While the connection is read the flush comes after all that was read.
        if !self.isPumping { connection.flush() }
    }

    /// A request that waited goes on; it may have left in the meantime.
    func granted(_ assignment: Traffic<Waiter>.Assignment, _ number: UInt64) {
        guard case .held = self.phase, self.exchange?.number == number else {
            return self.core.finish(assignment, ExchangeResult(.clientLeft))
        }
        self.start(assignment, .now())
        self.pump()
        self.exchange?.backend?.flush()
        self.readOn()
    }

    /// A request has waited long enough.
    func denied(_ refusal: Refusal, _ number: UInt64) {
        guard case .held = self.phase, self.exchange?.number == number else { return }
        self.refuse(refusal)
        self.readOn()
    }

    /// Gives the request's place back.
    func finish(_ end: ExchangeResult.End) {
        guard let exchange = self.exchange, let assignment = exchange.assignment else { return }
        exchange.endAssignment()
        self.core.finish(assignment, exchange.result(end, now: .now()))
    }

    /// The client has left: whatever is done for it ends.
    private func clientLeft() { self.abandon(.clientLeft) }

    func abandon(_ end: ExchangeResult.End) {
        switch self.phase {
        case .closed: return
        case .held(let id): self.core.leave(id)
        case .connecting, .exchanging, .tunnel:
            self.exchange?.backend?.close()
            self.finish(end)
        case .reading, .lingering: break
        }
        self.close()
    }

    /// Sends the request to another connection.
    func retry() {
        self.exchange?.hasRetried = true
        self.finish(.stale)
        self.dispatch(isReturned: true, .now())
        self.readOn()
    }

    // MARK: Time

    /// Something must happen within this time.
    func expect(within time: Duration) { self.expect(in: TimeAmount(time)) }

    func expect(in time: TimeAmount) {
        guard let context = self.context else { return }
        self.timer.expect(within: time, context.eventLoop, self) { $0.timeIsUp() }
    }

    private func timeIsUp() {
        switch self.phase {
        case .reading where self.reader.isInsideHead && !self.isWritable: self.expect(within: self.limits.headerTimeout)
        case .reading where self.reader.isInsideHead:
            self.refuse(
                Refusal(
                    408,
                    "request_timeout",
                    "the request's headers did not come within \(self.limits.headerTimeout)"
                ),
                isLast: true
            )
        case .exchanging where !self.isRequestComplete:
            guard self.exchange?.backend?.isWritable ?? false else {
                return self.expect(within: self.limits.bodyTimeout)
            }
            self.requestIsBroken(
                Refusal(408, "request_timeout", "the request's body paused for more than \(self.limits.bodyTimeout)")
            )
        // What has come before the end is answered.
        case .reading where self.isDraining && self.hasUnreadBytes: self.expect(within: Self.drainPause)
        case .reading, .lingering:
            guard self.hasPendingOutput else { return self.close() }
            // A slow client still takes the last answer.
            self.watchForStall()
            self.expect(within: self.limits.idleTimeout)
        case .held, .connecting, .exchanging, .tunnel, .closed: break
        }
    }

    func stopTimer() { self.timer.stop() }

    func timerFired(_ eventLoop: any EventLoop, _ body: @escaping (ClientConnection) -> Void) {
        if self.timer.fired(eventLoop, self, body) { body(self) }
    }
}
