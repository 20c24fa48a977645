import NIOCore

/// One connection to a backend, on the event loop of the client it serves: sends one request at a time and reads the answer.
final class BackendConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Where it waits between two requests.
    let idle: IdleConnections
    private let lane: Lane
    private var reader: ResponseReader
    private var context: ChannelHandlerContext?
    /// For questions to the system, while the channel is active.
    private var descriptor: CInt?
    private var owner: ClientConnection?
    private var isReadHeld = false
    private var isInputClosed = false
    private var isTunnel = false
    /// What was written on this connection before the request that is being sent, in bytes.
    private var bytesBefore: UInt64 = 0
    private var bytesWritten: UInt64 = 0
    /// The head of the request could not be handed to the system to its last byte.
    private var hasHeadFailed = false
    private var lifetime: TimeAmount
    /// The time of what is being read, if somebody asked for it; the clock is read once for all that one read brings.
    private var readTime: NIODeadline?
    private var isEventStream = false
    private var streamedError = StreamedError()
    /// Whether what is being read has brought content of an event stream.
    private var hasReadContent = false
    /// Whether it has served a request before this one.
    private(set) var isReused = false
    private(set) var idleSince = NIODeadline.distantPast

    init(idle: IdleConnections, lane: Lane) {
        self.idle = idle
        self.lane = lane
        self.reader = ResponseReader(headLimit: lane.core.configuration.limits.maximumHeaderBytes)
        self.lifetime = TimeAmount(lane.core.configuration.upstream.idleLifetime)
    }

    // MARK: For the client's connection

    /// Whether more of the request may be written.
    var isWritable: Bool { self.context?.channel.isWritable ?? false }

    /// Begins a request; its head is written, and goes out with the next ``flush()``.
    func begin(_ owner: ClientConnection, head: ByteBuffer, answersHead: Bool, unframes: Bool) {
        self.owner = owner
        self.bytesBefore = self.bytesWritten
        self.hasHeadFailed = false
        self.isEventStream = false
        self.streamedError = StreamedError()
        self.reader.expect(answersHead: answersHead, unframes: unframes)
        self.bytesWritten += UInt64(head.readableBytes)
        guard let context = self.context else { return }
        // Only on a connection that the backend may have given up, and with a request that may not be sent again anyway, it matters what
        // became of the head.
        guard self.isReused, !owner.isIdempotent else { return context.write(self.wrapOutboundOut(head), promise: nil) }
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenFailure { _ in self.hasHeadFailed = true }
        context.write(self.wrapOutboundOut(head), promise: promise)
    }

    func write(_ bytes: ByteBuffer) {
        self.bytesWritten += UInt64(bytes.readableBytes)
        self.context?.write(self.wrapOutboundOut(bytes), promise: nil)
    }

    func flush() { self.context?.flush() }

    /// The client can take more.
    func resumeReading() {
        guard self.isReadHeld else { return }
        self.isReadHeld = false
        self.context?.read()
    }

    /// Both directions carry another protocol from now on.
    ///
    /// - Returns: bytes of it that came with the answer.
    func becomeTunnel() -> ByteBuffer? {
        self.isTunnel = true
        return self.reader.takeRest()
    }

    /// The client of a tunnel has ended its side.
    func closeOutput() { self.context?.close(mode: .output, promise: nil) }

    /// Ends the connection with whatever it carries.
    func close() {
        self.owner = nil
        self.context?.close(promise: nil)
    }

    // MARK: For the pool

    /// Whether a request may be sent on it: the backend keeps it, and has not closed it a moment ago.
    func isUsable(now: NIODeadline) -> Bool {
        guard let context = self.context, context.channel.isActive, !self.isInputClosed else { return false }
        guard now - self.idleSince < self.lifetime, self.reader.bufferedBytes == 0 else { return false }
        guard let descriptor = self.descriptor else { return true }
        return ConnectionState.isEstablished(descriptor)
    }

    /// The exchange is over, and the connection can serve another one.
    private func becomeIdle() {
        self.owner = nil
        self.isReused = true
        self.idleSince = .now()
        self.lane.giveBack(self)
    }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        self.descriptor = ConnectionState.descriptor(context)
        context.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        if self.isTunnel {
            self.owner?.tunnel(bytes)
            return
        }
        // Nobody has asked for anything: this connection cannot be trusted any more.
        guard let owner = self.owner else { return context.close(promise: nil) }
        self.reader.append(bytes)
        if owner.awaitsAnswer { owner.answerBegins(now: self.timeOfRead()) }
        self.parse()
    }

    private func timeOfRead() -> NIODeadline {
        if let time = self.readTime { return time }
        let now = NIODeadline.now()
        self.readTime = now
        return now
    }

    /// Tells when content of an event stream came, once for all that one read brings.
    private func noteContent(_ owner: ClientConnection, _ bytes: ByteBuffer) {
        guard self.isEventStream, self.reader.contentBytes > 0 else { return }
        if self.streamedError.isTold(in: bytes) { owner.errorCame() }
        guard !self.hasReadContent else { return }
        self.hasReadContent = true
        owner.contentCame(now: self.timeOfRead())
    }

    private func parse() {
        do throws(Refusal) {
            while let owner = self.owner, !self.isTunnel, let event = try self.reader.next() {
                switch event {
                case .head(let head):
                    self.note(head)
                    // After 101 another protocol follows.
                    guard head.status >= 200 else {
                        owner.receive(head, nil)
                        // The same read has brought some of the next one already.
                        if self.reader.bufferedBytes > 0, owner.awaitsAnswer {
                            owner.answerBegins(now: self.timeOfRead())
                        }
                        continue
                    }
                    let next = try self.reader.next()
                    if case .body(let bytes) = next {
                        self.noteContent(owner, bytes)
                        owner.receive(head, bytes)
                    } else {
                        owner.receive(head, nil)
                    }
                    if case .end = next {
                        self.end(owner)
                        return
                    }
                case .body(let bytes):
                    self.noteContent(owner, bytes)
                    owner.receive(bytes)
                case .end:
                    self.end(owner)
                    return
                }
            }
        } catch {
            let owner = self.owner
            self.close()
            owner?.backendFailed(.malformed, "its answer is no valid HTTP: \(error.message)", mayRetry: false)
        }
    }

    private var answerKeepsAlive = false

    private func note(_ head: ResponseHead) {
        guard !head.isInformational else { return }
        self.isEventStream = head.isEventStream
        self.answerKeepsAlive = head.keepsAlive
        // Given up before the backend does: by how much depends on how long the last byte may travel.
        if let seconds = head.keepAliveSeconds {
            self.lifetime = min(self.lifetime, .milliseconds(max(0, Int64(clamping: seconds) * 1000 - 1000)))
        }
    }

    private func end(_ owner: ClientConnection) {
        let isWhole = owner.isRequestComplete
        self.owner = nil
        if self.answerKeepsAlive, isWhole, self.reader.bufferedBytes == 0, !self.isInputClosed {
            self.becomeIdle()
        } else {
            self.close()
        }
        owner.answerEnded()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.readTime = nil
        self.hasReadContent = false
        guard let owner = self.owner else {
            if !self.isInputClosed { context.read() }
            return
        }
        owner.flush()
        if owner.isWritable { context.read() } else { self.isReadHeld = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { self.owner?.backendIsWritable() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else {
            return context.fireUserInboundEventTriggered(event)
        }
        self.isInputClosed = true
        guard let owner = self.owner else { return context.close(promise: nil) }
        if self.isTunnel { return owner.tunnelEnded() }
        if self.reader.endsWithConnection {
            self.answerKeepsAlive = false
            self.end(owner)
        } else {
            // Its end came first: what it had not received by then it will never read.
            self.fail(context, "it closed the connection", hasEnded: true)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let hasEnded = (error as? IOError).map { ConnectionState.cameAfterEnd($0) } ?? false
        self.fail(context, "\(error)", hasEnded: hasEnded)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.fail(context, "the connection broke", hasEnded: false)
        self.lane.forget(self)
    }

    /// The connection is of no more use.
    private func fail(_ context: ChannelHandlerContext, _ reason: String, hasEnded: Bool) {
        guard let owner = self.owner else { return }
        if self.isTunnel {
            self.close()
            return owner.tunnelBroke()
        }
        let isUnread = self.isReused && self.isCertainlyUnread(context.channel, hasEnded: hasEnded)
        // What is idempotent may be sent again by whoever sent it (RFC 9110, section 9.2.2): a new connection can end as well in the
        // queue of a process that stops before it accepts.
        let mayRetry = isUnread || owner.isIdempotent
        self.close()
        owner.backendFailed(.closedBeforeHead, reason, mayRetry: mayRetry)
    }

    /// Whether the backend cannot have acted on the request, so that sending it again cannot execute it twice.
    ///
    /// That is so when
    ///
    /// - the last byte of its head never left this process, or
    /// - the backend's end of the stream came, and acknowledges no byte of it: what arrives after a process has closed its socket
    ///   is answered by the system, with a reset, and read by nobody.
    ///
    /// A reset alone proves nothing: the process may have read the request before it died.
    private func isCertainlyUnread(_ channel: any Channel, hasEnded: Bool) -> Bool {
        if self.hasHeadFailed { return true }
        return hasEnded && ConnectionState.hasAcknowledgedExactly(self.bytesBefore, channel)
    }
}
