import NIOCore

/// A request with what has become of it.
///
/// A class: it is looked at many times for a request, and its parts need not be counted each time.
final class Exchange {
    /// Bytes of a request that are kept so that it can be sent again.
    private static let replayLimit = 256 * 1024

    let request: RequestHead
    /// Which of the connection's requests it is.
    let number: UInt64
    let requestID: String
    /// When its head had come.
    let started: NIODeadline
    /// Until when it may wait for a backend.
    let deadline: NIODeadline
    var assignment: Traffic<Waiter>.Assignment?
    var backend: BackendConnection?
    /// Whether the client has sent all of it.
    var isRequestComplete = false
    /// When the first byte of the answer came.
    var firstByte: NIODeadline?
    /// The final answer's head, once it went to the client.
    var response: ResponseHead?
    /// The one second attempt was used up.
    var hasRetried = false
    /// Whether the client's connection ends with this answer.
    var closesAfter = false
    /// The head as it went to the backend; nil when it is not needed any more, or when what followed was too much to be kept.
    private(set) var sentHead: ByteBuffer?
    /// What went to the backend after the head.
    private(set) var sentBody: [ByteBuffer] = []
    /// The size of both.
    private(set) var sentBytes: Int

    init(
        _ request: RequestHead,
        number: UInt64,
        head: ByteBuffer,
        requestID: String,
        started: NIODeadline,
        patience: TimeAmount
    ) {
        self.request = request
        self.number = number
        self.requestID = requestID
        self.started = started
        self.deadline = started + patience
        self.sentHead = head
        self.sentBytes = head.readableBytes
        self.closesAfter = !request.keepsAlive
    }

    /// Whether everything that was sent is still here, and nothing of an answer has come.
    var canReplay: Bool { self.sentHead != nil && self.firstByte == nil && !self.hasRetried }

    /// Bytes went to the backend.
    func note(_ bytes: ByteBuffer) {
        guard self.sentHead != nil, self.firstByte == nil else { return }
        self.sentBytes += bytes.readableBytes
        if self.sentBytes > Self.replayLimit { self.forget() } else { self.sentBody.append(bytes) }
    }

    /// Nothing is sent again once an answer has begun.
    func answerBegins(now: NIODeadline) {
        guard self.firstByte == nil else { return }
        self.firstByte = now
        self.forget()
    }

    private func forget() {
        self.sentHead = nil
        self.sentBody = []
        self.sentBytes = 0
    }

    func result(_ end: ExchangeResult.End, now: NIODeadline) -> ExchangeResult {
        ExchangeResult(end, firstByte: self.firstByte.map { $0 - self.started }, duration: now - self.started)
    }
}
