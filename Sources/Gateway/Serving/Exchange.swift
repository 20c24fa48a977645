import NIOCore

/// A request with what has become of it.
struct Exchange {
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
    /// What went to the backend, from the head on; empty when it was too much.
    private(set) var sent: [ByteBuffer]
    private var sentBytes: Int

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
        self.sent = [head]
        self.sentBytes = head.readableBytes
        self.closesAfter = !request.keepsAlive
    }

    /// Whether everything that was sent is still here, and nothing of an answer has come.
    var canReplay: Bool { !self.sent.isEmpty && self.firstByte == nil && !self.hasRetried }

    /// Bytes went to the backend.
    mutating func note(_ bytes: ByteBuffer) {
        guard !self.sent.isEmpty, self.firstByte == nil else { return }
        self.sentBytes += bytes.readableBytes
        if self.sentBytes > Self.replayLimit { self.sent = [] } else { self.sent.append(bytes) }
    }

    /// Nothing is sent again once an answer has begun.
    mutating func answerBegins(now: NIODeadline) {
        guard self.firstByte == nil else { return }
        self.firstByte = now
        self.sent = []
    }

    func result(_ end: ExchangeResult.End, now: NIODeadline) -> ExchangeResult {
        ExchangeResult(end, firstByte: self.firstByte.map { $0 - self.started }, duration: now - self.started)
    }
}
