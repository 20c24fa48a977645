import NIOCore
import RequestPlane

/// Takes requests from one HTTP/1 connection or one HTTP/2 stream: collects bodies within a limit and decides what is answered.
///
/// ```
/// idle --head--> collecting --end--> idle            the request is dispatched and answered
///   |                |
///   |                +--too much--> answered --end--> idle, or closed
///   |                +--no room--+
///   |                            v
///   +--refused-----------> refused --end--> idle     the body is passed over, so that the connection stays usable
/// ```
struct HTTPRequestReceiver: Sendable, Hashable {
    private let rootPath: String
    private let limit: Int
    private var state = State.idle
    private var isQuiescing = false

    /// Whether the connection ends after the answer that is given next or was given last.
    private(set) var isLast = false

    private enum State: Hashable {
        case idle
        case collecting(path: String, body: ByteBuffer)
        /// Answered when the body has been passed over.
        case refused(HTTPAnswer, passedOver: Int)
        /// Answered; the rest of the body is passed over, up to a limit, so that the peer gets to read the answer.
        case answered(passedOver: Int)
        case closed
    }

    /// What the receiver needs to know of a request's head.
    struct Head: Hashable {
        var isPost: Bool
        var isOptions = false
        var target: String
        var contentLength: Int?
        var expectsContinue = false
        var keepsAlive = true
    }

    enum Action: Hashable {
        /// Ask for the body.
        case sendContinue
        /// Give the request to its endpoint, and answer with what becomes of it.
        case dispatch(path: String, payload: ByteBuffer)
        case answer(HTTPAnswer)
        case close
    }

    /// Creates a receiver.
    ///
    /// - Parameters:
    ///   - rootPath: what endpoint paths begin with.
    ///   - limit: the largest body.
    init(rootPath: String, limit: Int) {
        self.rootPath = rootPath
        self.limit = limit
    }

    /// Whether a request has begun and is not whole yet.
    var isReceiving: Bool {
        switch self.state {
        case .idle, .closed: false
        case .collecting, .refused, .answered: true
        }
    }

    /// Whether the bytes that arrive are kept.
    var isCollecting: Bool {
        if case .collecting = self.state { true } else { false }
    }

    // MARK: Inputs

    mutating func receive(_ head: Head) -> Action? {
        guard self.state == .idle else { return nil }
        self.isLast = self.isQuiescing || !head.keepsAlive
        switch self.decide(head) {
        case .endpoint(let path):
            if let length = head.contentLength, length > self.limit {
                return self.refuseNow(.tooLarge, head)
            }
            self.state = .collecting(path: path, body: ByteBuffer())
            return head.expectsContinue ? .sendContinue : nil
        case .refusal(let answer):
            if head.expectsContinue { return self.refuseNow(answer, head) }
            self.state = .refused(answer, passedOver: 0)
            return nil
        }
    }

    mutating func receive(_ bytes: ByteBuffer) -> Action? {
        switch self.state {
        case .idle, .closed:
            return nil
        case .collecting(let path, var body):
            guard body.readableBytes + bytes.readableBytes <= self.limit else {
                self.state = .answered(passedOver: 0)
                self.isLast = true
                return .answer(.tooLarge)
            }
            // Let go of the other reference, so that the body grows in place.
            self.state = .closed
            if body.readableBytes == 0 { body = bytes } else { body.writeImmutableBuffer(bytes) }
            self.state = .collecting(path: path, body: body)
            return nil
        case .refused(let answer, let passedOver):
            guard passedOver + bytes.readableBytes <= self.limit else {
                self.state = .answered(passedOver: 0)
                self.isLast = true
                return .answer(answer)
            }
            self.state = .refused(answer, passedOver: passedOver + bytes.readableBytes)
            return nil
        case .answered(let passedOver):
            guard passedOver + bytes.readableBytes <= self.limit else {
                self.state = .closed
                return .close
            }
            self.state = .answered(passedOver: passedOver + bytes.readableBytes)
            return nil
        }
    }

    /// There is no room for the body that is being collected: the rest is passed over, and then the request is answered.
    mutating func giveUpBody(_ answer: HTTPAnswer) {
        guard case .collecting(_, let body) = self.state else { return }
        self.state = .refused(answer, passedOver: body.readableBytes)
    }

    /// The request is whole.
    mutating func receiveEnd() -> Action? {
        let state = self.state
        guard state != .idle, state != .closed else { return nil }
        self.state = self.isLast ? .closed : .idle
        switch state {
        case .collecting(let path, let body):
            if let reason = Self.defect(body) { return .answer(.malformed(reason)) }
            return .dispatch(path: path, payload: body)
        case .refused(let answer, _): return .answer(answer)
        case .answered: return self.isLast ? .close : nil
        case .idle, .closed: return nil
        }
    }

    /// What arrived is not HTTP.
    mutating func receiveGarbage(_ answer: HTTPAnswer) -> Action? {
        let state = self.state
        self.state = .closed
        self.isLast = true
        switch state {
        case .idle, .collecting, .refused: return .answer(answer)
        case .answered: return .close
        case .closed: return nil
        }
    }

    /// Ends the connection after the request that is being received, or at once.
    mutating func quiesce() -> Action? {
        self.isQuiescing = true
        self.isLast = true
        guard self.state == .idle else { return nil }
        self.state = .closed
        return .close
    }

    // MARK: Decisions

    private enum Decision {
        case endpoint(String)
        case refusal(HTTPAnswer)
    }

    private func decide(_ head: Head) -> Decision {
        switch HTTPRoute(target: head.target, rootPath: self.rootPath) {
        case .outside: .refusal(.outside)
        case .endpoint(let path):
            if head.isPost {
                .endpoint(path)
            } else {
                .refusal(head.isOptions ? .options : .methodNotAllowed)
            }
        }
    }

    /// Answers before the body has come: a peer that waits for permission will not send it, and any other needs the time to read.
    private mutating func refuseNow(_ answer: HTTPAnswer, _ head: Head) -> Action {
        self.isLast = true
        self.state = head.expectsContinue ? .closed : .answered(passedOver: 0)
        return .answer(answer)
    }

    /// Why a body is no two-part message, as far as its lengths show.
    private static func defect(_ body: ByteBuffer) -> String? {
        guard let (header, content) = body.getMultipleLengths() else {
            return "the body has \(body.readableBytes) bytes, fewer than the lengths of a two-part message"
        }
        let available = UInt64(body.readableBytes - TwoPartMessage.preambleSize)
        guard header <= available, content <= available - header else {
            return "the body announces parts of \(header) and \(content) bytes and has \(available) for them"
        }
        return nil
    }
}

extension ByteBuffer {
    /// The two lengths at the front of a two-part message.
    fileprivate func getMultipleLengths() -> (UInt64, UInt64)? {
        guard self.readableBytes >= TwoPartMessage.preambleSize,
            let header = self.getInteger(at: self.readerIndex, as: UInt64.self),
            let body = self.getInteger(at: self.readerIndex + 8, as: UInt64.self)
        else { return nil }
        return (header, body)
    }
}
