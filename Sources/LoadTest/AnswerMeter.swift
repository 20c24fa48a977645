import NIOCore

/// Measures one answer of an OpenAI-compatible server as its bytes arrive: a machine without a clock or a socket.
struct AnswerMeter {
    /// What is known when the answer has ended.
    struct Answer: Hashable {
        /// Nil when the answer is complete; otherwise what went wrong.
        var failure: String?
        /// As the server counted them, else the streamed events.
        var tokens: Int
    }

    private let isStreamed: Bool
    private let sent: UInt64
    private var status = 0
    private var line = ByteBuffer()
    private var last: UInt64?
    private var events = 0
    private var isDone = false
    private var lastEvent = ByteBuffer()
    private var usage: Int?
    private var error: String?

    /// Gaps between streamed events since they were last taken, in nanoseconds; the first is from the request.
    private(set) var firstEvent: UInt64?
    private(set) var gaps: [UInt64] = []

    private static let errorTextLimit = 200

    /// A request was sent.
    ///
    /// - Parameters:
    ///   - isStreamed: whether server-sent events are expected.
    ///   - sent: when, in nanoseconds of some clock.
    init(isStreamed: Bool, sent: UInt64) {
        self.isStreamed = isStreamed
        self.sent = sent
    }

    /// The status line has arrived.
    mutating func begin(status: Int) { self.status = status }

    /// A part of the body has arrived.
    mutating func receive(_ bytes: ByteBuffer, at now: UInt64) {
        self.line.writeImmutableBuffer(bytes)
        guard self.isStreamed, self.status == 200 else { return }
        while let end = self.line.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
            let text = self.line.readSlice(length: end - self.line.readerIndex + 1) ?? ByteBuffer()
            self.receiveLine(text, at: now)
        }
        self.line.discardReadBytes()
    }

    private mutating func receiveLine(_ line: ByteBuffer, at now: UInt64) {
        let text = line.readableBytesView
        if text.starts(with: "event: error".utf8) || text.starts(with: "event:error".utf8) {
            self.error = self.error ?? "an error event in the stream"
        }
        guard text.starts(with: "data:".utf8) else { return }
        if text.dropFirst(5).starts(with: " [DONE]".utf8) {
            self.isDone = true
            // Usage comes in the last event before the end.
            self.usage = Self.completionTokens(self.lastEvent)
            return
        }
        if text.dropFirst(5).starts(with: " {\"error\"".utf8) {
            self.error = String(String(buffer: line).prefix(Self.errorTextLimit))
            return
        }
        self.lastEvent = line
        self.events += 1
        if let last = self.last {
            self.gaps.append(now - last)
        } else {
            self.firstEvent = now - self.sent
        }
        self.last = now
    }

    /// The answer has ended.
    mutating func end() -> Answer {
        guard self.status == 200 else {
            let text = String(String(buffer: self.line).prefix(Self.errorTextLimit))
            return Answer(failure: "status \(self.status): \(text)", tokens: 0)
        }
        if let error = self.error { return Answer(failure: error, tokens: 0) }
        if self.isStreamed {
            guard self.isDone else { return Answer(failure: "the stream ended without [DONE]", tokens: 0) }
            return Answer(failure: nil, tokens: self.usage ?? self.events)
        }
        return Answer(failure: nil, tokens: Self.completionTokens(self.line) ?? 0)
    }

    /// The number after `"completion_tokens":`.
    private static func completionTokens(_ text: ByteBuffer) -> Int? {
        let key = #""completion_tokens":"#.utf8
        let bytes = text.readableBytesView
        guard let range = bytes.firstRange(of: key) else { return nil }
        var number: Int?
        for byte in bytes[range.upperBound...].drop(while: { $0 == UInt8(ascii: " ") }) {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { break }
            number = (number ?? 0) * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return number
    }
}
