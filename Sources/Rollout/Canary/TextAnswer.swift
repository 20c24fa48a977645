internal import FoundationEssentials

/// The text of answers of the OpenAI endpoints, `/v1/chat/completions` and `/v1/completions`.
enum TextAnswer {
    private struct Answer: Decodable {
        struct Message: Decodable {
            var content: String?
            var reasoning_content: String?
        }
        struct Choice: Decodable {
            var text: String?
            var message: Message?
            var delta: Message?
        }
        var choices: [Choice]?
        var error: Failure?
    }

    /// As an object with a message, or as a bare text.
    private struct Failure: Decodable {
        var message: String

        private enum Key: CodingKey { case message }

        init(from decoder: any Decoder) throws {
            if let text = try? decoder.singleValueContainer().decode(String.self) {
                self.message = text
            } else {
                let container = try decoder.container(keyedBy: Key.self)
                self.message = try container.decodeIfPresent(String.self, forKey: .message) ?? "error"
            }
        }
    }

    enum Content: Sendable, Hashable {
        /// Of the first choice, what the model thinks included.
        ///
        /// Empty where the model's tokens are no text, as those of Dynamo's mock engine with a small vocabulary (observed with 1.2.1 and 1.6.1).
        case text(String)
        /// No choice, as in a stream's last piece, which only counts tokens.
        case nothing
        case failure(String)
        /// Not JSON of this kind.
        case unreadable
    }

    /// What an answer says.
    ///
    /// - Parameter json: a whole answer, or the data of one event of a stream.
    /// - Returns: its text, or what it is instead.
    static func content(of json: [UInt8]) -> Content {
        guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(json)) else { return .unreadable }
        if let error = answer.error { return .failure(error.message) }
        guard let choices = answer.choices else { return .unreadable }
        guard let choice = choices.first else { return .nothing }
        let message = choice.message ?? choice.delta
        return .text((message?.reasoning_content ?? "") + (message?.content ?? choice.text ?? ""))
    }
}

/// Takes server-sent events out of the pieces in which they come.
struct EventStreamReader: Sendable {
    enum Event: Sendable, Hashable {
        case text(String)
        /// `[DONE]`.
        case done
        case failure(String)
        case unreadable(String)
    }

    private var rest: [UInt8] = []
    /// The event's type; only `error` means something here.
    private var type = ""
    private var data: [UInt8] = []
    private var hasData = false
    /// A comment of an event without data, where Dynamo's frontend says what went wrong.
    private var comment = ""

    /// Takes the next bytes.
    ///
    /// - Parameter bytes: what came.
    /// - Returns: the events that are complete with it.
    mutating func feed(_ bytes: some Sequence<UInt8>) -> [Event] {
        self.rest += bytes
        var events: [Event] = []
        var start = self.rest.startIndex
        while let end = self.rest[start...].firstIndex(of: UInt8(ascii: "\n")) {
            var line = self.rest[start..<end]
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            if let event = self.take(line) { events.append(event) }
            start = self.rest.index(after: end)
        }
        self.rest.removeSubrange(..<start)
        return events
    }

    private mutating func take(_ line: ArraySlice<UInt8>) -> Event? {
        guard !line.isEmpty else { return self.end() }
        let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
        var value = colon < line.endIndex ? line[line.index(after: colon)...] : []
        if value.first == UInt8(ascii: " ") { value.removeFirst() }
        switch String(decoding: line[..<colon], as: UTF8.self) {
        case "": self.comment = String(decoding: value, as: UTF8.self)
        case "event": self.type = String(decoding: value, as: UTF8.self)
        case "data":
            if self.hasData { self.data.append(UInt8(ascii: "\n")) }
            self.data += value
            self.hasData = true
        default: break
        }
        return nil
    }

    /// An empty line ends an event.
    private mutating func end() -> Event? {
        defer {
            self.type = ""
            self.data = []
            self.hasData = false
            self.comment = ""
        }
        if self.type == "error" {
            let text = self.hasData ? String(decoding: self.data, as: UTF8.self) : self.comment
            if case .failure(let message) = TextAnswer.content(of: self.data) { return .failure(message) }
            return .failure(text)
        }
        guard self.hasData else { return nil }
        if self.data.elementsEqual("[DONE]".utf8) { return .done }
        switch TextAnswer.content(of: self.data) {
        case .text(let text): return .text(text)
        case .nothing: return nil
        case .failure(let message): return .failure(message)
        case .unreadable: return .unreadable(String(decoding: self.data, as: UTF8.self))
        }
    }
}
