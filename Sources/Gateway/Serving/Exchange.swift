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
    private(set) var assignment: Traffic<Waiter>.Assignment?
    /// The generation that it was given last.
    private(set) var generation: Int?
    /// When it was given its place.
    private var placed: NIODeadline
    var backend: BackendConnection?
    /// Whether the client has sent all of it.
    var isRequestComplete = false
    /// Whether something of an answer came, be it an interim one.
    private var hasAnswer = false
    /// When the first byte of the answer came.
    private(set) var firstByte: NIODeadline?
    /// When the first and the last content of an event stream came, and how many reads had some.
    private var firstContent: NIODeadline?
    private var lastContent = NIODeadline.distantPast
    private var contentReads = 0
    /// Whether an event stream told an error.
    var hasToldError = false
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
        self.placed = started
        self.deadline = started + patience
        self.sentHead = head
        self.sentBytes = head.readableBytes
        self.closesAfter = !request.keepsAlive
    }

    /// Whether everything that was sent is still here, and nothing of an answer has come.
    var canReplay: Bool { self.sentHead != nil && !self.hasAnswer && !self.hasRetried }

    /// It has its place at a backend.
    func begin(at assignment: Traffic<Waiter>.Assignment, now: NIODeadline) {
        self.assignment = assignment
        self.generation = assignment.backend.generation
        self.placed = now
    }

    /// It gives its place back.
    func endAssignment() {
        self.assignment = nil
        self.backend = nil
    }

    /// Bytes went to the backend.
    func note(_ bytes: ByteBuffer) {
        guard self.sentHead != nil else { return }
        self.sentBytes += bytes.readableBytes
        if self.sentBytes > Self.replayLimit { self.forget() } else { self.sentBody.append(bytes) }
    }

    /// Nothing is sent again once an answer has begun.
    func answerBegins(now: NIODeadline) {
        guard self.firstByte == nil else { return }
        self.firstByte = now
        self.hasAnswer = true
        self.forget()
    }

    /// What came was an interim answer: the first byte of the answer is still to come.
    func answerIsInterim() { self.firstByte = nil }

    /// A read of an event stream brought content.
    func contentCame(now: NIODeadline) {
        if self.firstContent == nil { self.firstContent = now }
        self.lastContent = now
        self.contentReads += 1
    }

    private func forget() {
        self.sentHead = nil
        self.sentBody = []
        self.sentBytes = 0
    }

    func result(_ end: ExchangeResult.End, now: NIODeadline) -> ExchangeResult {
        var result = ExchangeResult(
            end,
            firstByte: self.firstByte.map { $0 - self.started },
            duration: now - self.started
        )
        result.waited = self.placed - self.started
        result.hasToldError = self.hasToldError
        if let firstContent = self.firstContent {
            result.firstToken = firstContent - self.started
            if self.contentReads >= ExchangeResult.fewestReads {
                let time = (self.lastContent - firstContent).nanoseconds
                result.betweenTokens = .nanoseconds(time / Int64(self.contentReads - 1))
            }
        }
        return result
    }
}
