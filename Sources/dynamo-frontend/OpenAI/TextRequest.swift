import Discovery
import DynamoRuntime
import KVRouter
import NIOCore

/// A client's request, checked, and what of it goes to the worker.
///
/// Source: `discovery.md` 7. What the contract does not change goes on byte for byte.
struct TextRequest: Sendable, Hashable {
    var kind: TextRequestKind
    var model: String
    var streams: Bool
    /// What the worker gets that takes text.
    var payload: ByteBuffer
    /// What the client has sent, without what it has not set.
    var fields: JSONFields
    /// The worker that the request names, for router modes that heed it.
    var named: SelectionRequest.NamedWorker?
    /// What stands for the prompt's tokens; nil unless it was asked for.
    var prompt: [UInt32]?

    init(parsing body: ByteBuffer, kind: TextRequestKind, readsPrompt: Bool = false) throws(OpenAIError) {
        let json: JSONValue
        do { json = try JSONValue(parsing: body) } catch {
            throw .invalid("Failed to parse the request body as JSON: \(error)", code: "invalid_json")
        }
        guard case .object(var fields) = json else {
            throw .invalid("The request body must be a JSON object, not \(json.kind)", code: "invalid_json")
        }
        self.kind = kind
        self.model = try Self.model(fields)
        self.streams = try Self.bool(fields, "stream") ?? false
        try Self.checkNames(fields, kind)
        try Self.checkContent(fields, kind)
        try Self.checkNumbers(fields)
        self.named = try Self.named(fields)
        self.prompt = readsPrompt ? PromptTokens.of(fields, kind) : nil
        let isChanged = try Self.normalize(&fields, streams: self.streams)
        self.payload = isChanged ? JSONValue.object(fields).buffer : body
        self.fields = fields
    }

    /// Makes the few changes that Dynamo's frontend makes.
    ///
    /// - Returns: whether anything had to be changed.
    private static func normalize(_ fields: inout JSONFields, streams: Bool) throws(OpenAIError) -> Bool {
        let before = fields
        if !streams { fields["stream"] = nil }
        if let options = fields["stream_options"], !options.isNull {
            guard streams else {
                throw .invalid(
                    "The 'stream_options' field is only allowed when 'stream' is set to true.",
                    param: "stream_options"
                )
            }
            guard case .object(var options) = options else {
                throw Self.wrongType(options, "stream_options", "an object")
            }
            if options["include_usage"] == nil { options.append("include_usage", false) }
            if options["continuous_usage_stats"] == nil { options.append("continuous_usage_stats", false) }
            fields["stream_options"] = .object(options)
        }
        if let arguments = fields["chat_template_kwargs"] {
            fields["chat_template_kwargs"] = nil
            if fields["chat_template_args"] == nil, !arguments.isNull { fields["chat_template_args"] = arguments }
        }
        // Fields that the client did not set are absent.
        let absent = Set(fields.members.lazy.filter { $0.value.isNull }.map(\.name))
        if !absent.isEmpty { fields = JSONFields(fields.members.filter { !absent.contains($0.name) }) }
        return fields != before
    }

    // MARK: Checks

    private static func model(_ fields: JSONFields) throws(OpenAIError) -> String {
        guard let value = fields["model"] else { throw .invalid("missing field `model`", param: "model") }
        guard let name = value.string else { throw self.wrongType(value, "model", "a string") }
        guard !name.isEmpty else { throw .invalid("Model cannot be empty", param: "model") }
        return name
    }

    /// The worker that decodes, if the request names one; its rank goes to it with the rest of `nvext`.
    private static func named(_ fields: JSONFields) throws(OpenAIError) -> SelectionRequest.NamedWorker? {
        for name in ["decode_worker_id", "backend_instance_id"] {
            guard let value = fields["nvext"]?[name], !value.isNull else { continue }
            guard let worker = value.uint64 else {
                throw self.wrongType(value, "nvext.\(name)", "the number of a worker")
            }
            return SelectionRequest.NamedWorker(worker: worker)
        }
        return nil
    }

    private static func checkNames(_ fields: JSONFields, _ kind: TextRequestKind) throws(OpenAIError) {
        let known = RequestFields.known(for: kind)
        let unknown = fields.members.map(\.name).filter { !known.contains($0) }
        guard let first = unknown.first else { return }
        let names = unknown.map { "`\($0)`" }.joined(separator: ", ")
        throw .invalid("Unsupported parameter(s): \(names)", param: first, code: "unsupported_parameter")
    }

    private static func checkContent(_ fields: JSONFields, _ kind: TextRequestKind) throws(OpenAIError) {
        switch kind {
        case .chat: try self.checkMessages(fields)
        case .completions: try self.checkPrompt(fields)
        }
        guard let stop = fields["stop"]?.array, stop.count > RequestFields.mostStopSequences else { return }
        let most = RequestFields.mostStopSequences
        throw .invalid("Maximum of \(most) stop sequences allowed, got \(stop.count)", param: "stop")
    }

    private static func checkMessages(_ fields: JSONFields) throws(OpenAIError) {
        guard let value = fields["messages"] else { throw .invalid("missing field `messages`", param: "messages") }
        guard let messages = value.array else { throw self.wrongType(value, "messages", "a list") }
        guard !messages.isEmpty else {
            throw .invalid("The 'messages' field cannot be empty. At least one message is required.", param: "messages")
        }
        for (index, message) in messages.enumerated() {
            let place = "messages[\(index)]"
            guard message.object != nil else { throw self.wrongType(message, place, "an object") }
            guard let role = message["role"] else {
                throw .invalid("missing field `\(place).role`", param: "\(place).role")
            }
            guard let name = role.string, RequestFields.roles.contains(name) else {
                let roles = RequestFields.roles.sorted().joined(separator: ", ")
                throw .invalid("`\(place).role` must be one of \(roles), not \(role.text)", param: "\(place).role")
            }
            let content = message["content"] ?? .null
            switch content {
            case .string, .array: break
            case .null where name == "assistant" || name == "function": break
            case .null: throw .invalid("missing field `\(place).content`", param: "\(place).content")
            default: throw self.wrongType(content, "\(place).content", "a string or a list")
            }
        }
    }

    private static func checkPrompt(_ fields: JSONFields) throws(OpenAIError) {
        guard let prompt = fields["prompt"], !prompt.isNull else {
            throw .invalid("missing field `prompt`", param: "prompt")
        }
        switch prompt {
        case .string(let text) where !text.isEmpty: return
        case .string: throw .invalid("Prompt string cannot be empty", param: "prompt")
        case .array(let elements) where elements.isEmpty:
            throw .invalid("Prompt string array cannot be empty", param: "prompt")
        case .array(let elements):
            if let index = elements.firstIndex(of: "") {
                throw .invalid("Prompt string at index \(index) cannot be empty", param: "prompt")
            }
        default: throw self.wrongType(prompt, "prompt", "a string or a list")
        }
    }

    private static func checkNumbers(_ fields: JSONFields) throws(OpenAIError) {
        for (name, range) in RequestFields.ranges {
            guard let value = fields[name], !value.isNull else { continue }
            guard let number = value.double else { throw self.wrongType(value, name, "a number") }
            guard range.contains(number) else {
                let (low, high) = (Self.short(range.lowerBound), Self.short(range.upperBound))
                throw .invalid("`\(name)` must be between \(low) and \(high), got \(value.text)", param: name)
            }
        }
        for name in ["max_completion_tokens", "max_tokens"] {
            guard let value = fields[name], !value.isNull else { continue }
            guard let number = value.int, number > 0 else {
                throw .invalid("`\(name)` must be a whole number greater than 0, got \(value.text)", param: name)
            }
        }
    }

    private static func bool(_ fields: JSONFields, _ name: String) throws(OpenAIError) -> Bool? {
        guard let value = fields[name], !value.isNull else { return nil }
        guard let bool = value.bool else { throw self.wrongType(value, name, "a boolean") }
        return bool
    }

    private static func short(_ number: Double) -> String { String(Int(number)) }

    private static func wrongType(_ value: JSONValue, _ name: String, _ expected: String) -> OpenAIError {
        .invalid("`\(name)` must be \(expected), not \(value.kind)", param: name)
    }
}
