import Discovery
import DynamoRuntime
import NIOCore
import RequestPlane

/// What of an OpenAI request matters to an echo.
struct EchoRequest: Sendable, Hashable {
    /// A request with a prompt is a completion, every other one a chat.
    var kind: TextRequestKind
    var model: String
    /// One text to send back for each prompt; a chat has one.
    var texts: [String]
    /// Everything that counts as prompt.
    var promptTexts: [String]
    var choices = 1
    var maxTokens: Int?
    var stop: [String] = []
    /// Whether the answer ends with a chunk of usage numbers.
    ///
    /// Only a caller that streams may not want them.
    var includesUsage = true

    init(parsing payload: ByteBuffer) throws(RemoteError) {
        let body: JSONValue
        do { body = try JSONValue(parsing: payload) } catch { throw Self.invalid("the request is not JSON: \(error)") }
        guard let model = body["model"]?.string else { throw Self.invalid("`model` must be a string") }
        self.model = model
        self.kind = body["prompt"] == nil ? .chat : .completions
        switch self.kind {
        case .chat: (self.texts, self.promptTexts) = try Self.messages(body["messages"])
        case .completions:
            self.texts = try Self.prompts(body["prompt"])
            self.promptTexts = self.texts
        }
        self.choices = try Self.positive(body, "n") ?? 1
        guard self.choices <= 128 else { throw Self.invalid("`n` must be at most 128") }
        self.maxTokens = try Self.positive(body, "max_completion_tokens")
        if self.maxTokens == nil { self.maxTokens = try Self.positive(body, "max_tokens") }
        self.stop = try Self.stops(body["stop"])
        if body["stream"]?.bool == true {
            self.includesUsage = body["stream_options"]?["include_usage"]?.bool ?? false
        }
    }

    private static func messages(_ value: JSONValue?) throws(RemoteError) -> (texts: [String], all: [String]) {
        guard let messages = value?.array, !messages.isEmpty else {
            throw self.invalid("`messages` must be a list that is not empty")
        }
        var all: [String] = []
        for message in messages { all.append(try self.content(message["content"])) }
        let last = messages.lastIndex { $0["role"]?.string == "user" } ?? messages.count - 1
        return ([all[last]], all)
    }

    /// The text of a message; images and the like have none.
    private static func content(_ value: JSONValue?) throws(RemoteError) -> String {
        switch value {
        case nil, .null: return ""
        case .string(let text): return text
        case .array(let parts):
            return parts.compactMap { $0["text"]?.string }.joined()
        case .some(let other): throw self.invalid("`content` must be a string or a list of parts, not \(other.kind)")
        }
    }

    private static func prompts(_ value: JSONValue?) throws(RemoteError) -> [String] {
        switch value {
        case .string(let text): return [text]
        case .array(let elements) where !elements.isEmpty:
            let texts = elements.compactMap(\.string)
            guard texts.count == elements.count else {
                throw self.invalid("this worker takes text prompts, not token ids")
            }
            return texts
        default: throw self.invalid("`prompt` must be a string or a list of strings that is not empty")
        }
    }

    private static func stops(_ value: JSONValue?) throws(RemoteError) -> [String] {
        switch value {
        case nil, .null: return []
        case .string(let text): return text.isEmpty ? [] : [text]
        case .array(let elements):
            let texts = elements.compactMap(\.string)
            guard texts.count == elements.count else {
                throw self.invalid("`stop` must be a string or a list of strings")
            }
            return texts.filter { !$0.isEmpty }
        case .some(let other): throw self.invalid("`stop` must be a string or a list of strings, not \(other.kind)")
        }
    }

    private static func positive(_ body: JSONValue, _ name: String) throws(RemoteError) -> Int? {
        guard let value = body[name], !value.isNull else { return nil }
        guard let number = value.int, number > 0 else { throw self.invalid("`\(name)` must be a whole number above 0") }
        return number
    }

    private static func invalid(_ message: String) -> RemoteError {
        RemoteError(kind: .invalidArgument, message: message)
    }
}
