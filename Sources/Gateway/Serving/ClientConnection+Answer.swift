import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

// What goes to the client.

extension ClientConnection {
    /// Whether the client's connection can take more.
    var isWritable: Bool { self.context?.channel.isWritable ?? false }

    var isRequestComplete: Bool { self.exchange?.isRequestComplete ?? true }

    var isIdempotent: Bool { self.exchange?.request.isIdempotent ?? false }

    func flush() { self.context?.flush() }

    private func write(_ bytes: ByteBuffer) { self.context?.write(self.wrapOutboundOut(bytes), promise: nil) }

    // MARK: From the backend

    /// Whether nothing of the answer has come; interim ones are none.
    var awaitsAnswer: Bool { self.exchange.map { $0.firstByte == nil } ?? false }

    /// The first bytes of an answer have come.
    func answerBegins(now: NIODeadline) { self.exchange?.answerBegins(now: now) }

    /// A read of an event stream brought content.
    func contentCame(now: NIODeadline) { self.exchange?.contentCame(now: now) }

    /// An event stream told an error.
    func errorCame() { self.exchange?.hasToldError = true }

    /// The head of an answer has come.
    ///
    /// - Parameters:
    ///   - head: it.
    ///   - body: what has come of the body with it.
    func receive(_ head: ResponseHead, _ body: ByteBuffer?) {
        guard let exchange = self.exchange else { return }
        if head.isInformational {
            exchange.answerIsInterim()
            if !exchange.request.isHTTP10 {
                self.write(head.forClient(connection: nil, isUnframed: false, requestID: nil))
            }
            return
        }
        if head.status == 101 { return self.becomeTunnel(head, exchange) }
        let isHTTP10 = exchange.request.isHTTP10
        let isUnframed = isHTTP10 && head.framing == .chunked
        // A body that is not read to its end makes the connection useless; so does an answer that ends with it.
        let isLast =
            exchange.closesAfter || self.isDraining || head.framing == .untilClose || isUnframed
            || !exchange.isRequestComplete
        self.exchange?.closesAfter = isLast
        self.exchange?.response = head
        // A few bytes are copied faster than they are sent apart.
        let copied = body.flatMap { $0.readableBytes <= Self.copyLimit ? $0 : nil }
        var bytes = head.forClient(
            connection: isLast ? "close" : isHTTP10 ? "keep-alive" : nil,
            isUnframed: isUnframed,
            requestID: exchange.requestID,
            room: copied?.readableBytes ?? 0
        )
        if let copied { bytes.writeImmutableBuffer(copied) }
        self.write(bytes)
        if let body, copied == nil { self.write(body) }
    }

    /// Bytes of a body that are copied behind the head, at most.
    private static let copyLimit = 4096

    func receive(_ bytes: ByteBuffer) { self.write(bytes) }

    func answerEnded() {
        guard let exchange = self.exchange, let response = exchange.response else { return }
        self.finish(.answered(status: response.status))
        self.exchangeEnded(isLast: exchange.closesAfter || !exchange.isRequestComplete)
    }

    /// The backend's connection is of no more use, and the answer is not complete.
    ///
    /// - Parameters:
    ///   - failure: how it failed when nothing of the answer went to the client.
    ///   - reason: why, in words.
    ///   - mayRetry: whether the request cannot be executed twice by being sent again.
    func backendFailed(_ failure: BackendFailure, _ reason: String, mayRetry: Bool) {
        guard let exchange = self.exchange, let backend = exchange.assignment?.backend else { return }
        if mayRetry, exchange.canReplay { return self.retry() }
        self.core.logFailure(backend, reason, exchange.requestID)
        guard let response = exchange.response else {
            self.finish(.failed(failure))
            let message = "\(backend) gave no answer: \(reason)"
            return self.refuse(Refusal(502, "backend_failed", message))
        }
        self.finish(.failed(.cut))
        self.cut(response)
    }

    /// Ends the connection so that the client sees that its answer is not complete.
    private func cut(_ response: ResponseHead) {
        self.context?.flush()
        // An answer without a length, and one that lost its chunks, ends with the connection: only a reset tells that it broke.
        if response.framing == .untilClose || (self.exchange?.request.isHTTP10 ?? false) {
            self.context?.reset()
            // Past TLS, whose goodbye would say that the answer is whole.
            self.secureContext?.close(promise: nil)
        }
        self.close()
    }

    // MARK: From the gateway

    /// The client broke a rule in the middle of its request, or before it.
    func requestIsBroken(_ refusal: Refusal) {
        guard let exchange = self.exchange else { return self.refuse(refusal, isLast: true) }
        exchange.backend?.close()
        self.finish(.clientLeft)
        if exchange.response != nil { return self.close() }
        self.refuse(refusal, isLast: true)
    }

    /// Answers in the place of a backend.
    func refuse(_ refusal: Refusal, isLast: Bool = false) {
        let exchange = self.exchange
        let request = exchange?.request
        // What the client still sends of its body would be read as its next request.
        let hasBody = exchange.map { !$0.isRequestComplete } ?? false
        let isLast = isLast || hasBody || self.isDraining || exchange?.closesAfter ?? false
        let connection = isLast ? "close" : request?.isHTTP10 ?? false ? "keep-alive" : nil
        self.core.note(refusal)
        self.write(
            refusal.answer(
                requestID: exchange?.requestID ?? self.lane.names.uuid(),
                withBody: !(request?.isHead ?? false),
                connection: connection
            )
        )
        self.exchangeEnded(isLast: isLast)
    }

    private func exchangeEnded(isLast: Bool) {
        self.exchange = nil
        if isLast {
            self.phase = .lingering
            self.context?.flush()
            self.endOutput()
        } else {
            self.phase = .reading
            self.context?.flush()
            self.expect(in: self.reader.bufferedBytes > 0 ? self.lane.times.header : self.lane.times.idle)
            self.pump()
        }
        self.exchange?.backend?.flush()
        self.readOn()
    }

    /// Ends this side once everything has gone out, and gives the client a moment to end its own.
    private func endOutput() {
        guard let context = self.context else { return }
        // For a client that takes nothing at all.
        self.expect(within: self.limits.idleTimeout)
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { _ in
            if case .lingering = self.phase { self.expect(within: .seconds(1)) }
        }
        context.close(mode: .output, promise: promise)
    }

    // MARK: Other protocols

    private func becomeTunnel(_ head: ResponseHead, _ exchange: Exchange) {
        guard exchange.request.wantsUpgrade else {
            let backend = exchange.backend
            backend?.close()
            return self.backendFailed(.malformed, "it switches protocols unasked", mayRetry: false)
        }
        self.exchange?.response = head
        self.phase = .tunnel
        self.stopTimer()
        self.write(head.forClient(connection: nil, isUnframed: false, requestID: exchange.requestID))
        if let rest = exchange.backend?.becomeTunnel() { self.write(rest) }
        self.context?.flush()
        if let early = self.reader.takeRest() {
            exchange.backend?.write(early)
            exchange.backend?.flush()
        }
        self.readOn()
    }

    /// Bytes of the other protocol.
    func tunnel(_ bytes: ByteBuffer) { self.write(bytes) }

    /// The backend has ended its side.
    func tunnelEnded() {
        self.isTunnelEnded = true
        self.context?.close(mode: .output, promise: nil)
    }

    /// The backend's connection is gone.
    func tunnelBroke() {
        self.finish(.answered(status: 101))
        self.context?.flush()
        guard self.isTunnelEnded else { return self.close() }
        // What the backend said before it ended is still on its way.
        self.exchange = nil
        self.phase = .lingering
        self.expect(within: .seconds(30))
        self.readOn()
    }
}

extension ChannelHandlerContext {
    /// Closes so that the other side sees a reset.
    func reset() {
        if let options = self.channel as? any SocketOptionProvider {
            _ = options.setSoLinger(linger(l_onoff: 1, l_linger: 0))
        }
    }
}
