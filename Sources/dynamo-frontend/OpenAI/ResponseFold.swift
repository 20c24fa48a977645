import Discovery
import DynamoRuntime
import NIOCore
import RequestPlane

/// Folds the chunks of a stream into the one answer that a client gets who does not stream.
struct ResponseFold: Sendable {
    private struct Choice: Sendable {
        var text = ""
        /// What else the deltas said, by name: texts joined, lists appended, other values replaced.
        var delta = JSONFields()
        var toolCalls: [Int: JSONFields] = [:]
        var logprobs: JSONValue = .null
        var finishReason: JSONValue = .null
    }

    private let kind: TextRequestKind
    private var head = JSONFields()
    private var choices: [Int: Choice] = [:]
    private var usage: JSONValue = .null
    /// What is said about the answer beside OpenAI's interface.
    private var extra: JSONValue = .null

    init(kind: TextRequestKind) { self.kind = kind }

    /// Whether any chunk has arrived.
    private(set) var isEmpty = true

    /// Takes the next chunk.
    ///
    /// - Throws: `JSONError` when the worker sent something else than JSON.
    mutating func add(_ chunk: ByteBuffer) throws(JSONError) {
        // All chunks of an answer say the same about id, model and time: after the first one that is skipped.
        if !self.isEmpty, let (choices, usage, extra) = Self.slices(of: chunk) {
            let choices = try choices.map { (text) throws(JSONError) in try JSONValue(parsing: text) }
            let usage = try usage.map { (text) throws(JSONError) in try JSONValue(parsing: text) }
            if let extra {
                let value = try JSONValue(parsing: extra)
                if !value.isNull { self.extra = Self.merged(self.extra, value) }
            }
            return self.add(choices: choices, usage: usage)
        }
        guard case .object(let fields) = try JSONValue(parsing: chunk) else { return }
        if self.isEmpty {
            self.isEmpty = false
            for member in fields.members where !["choices", "usage", "object", "nvext"].contains(member.name) {
                self.head.append(member.name, member.value)
            }
        }
        if let extra = fields["nvext"], !extra.isNull { self.extra = Self.merged(self.extra, extra) }
        self.add(choices: fields["choices"], usage: fields["usage"])
    }

    /// The text of the members that a later chunk is read for; nil when it is not an object.
    private static func slices(of chunk: ByteBuffer) -> (choices: ByteBuffer?, usage: ByteBuffer?, extra: ByteBuffer?)?
    {
        let bytes = chunk.readableBytesUInt8Span
        var scanner = JSONScanner()
        guard scanner.beginObject(bytes) else { return nil }
        var found: (choices: Range<Int>?, usage: Range<Int>?, extra: Range<Int>?)
        do {
            var isFirst = true
            while let key = try scanner.nextKey(bytes, isFirst: isFirst) {
                isFirst = false
                let value = try scanner.skipValue(bytes)
                if key.equals("choices", in: bytes) { found.choices = value }
                if key.equals("usage", in: bytes) { found.usage = value }
                if key.equals("nvext", in: bytes) { found.extra = value }
            }
            try scanner.finish(bytes)
        } catch { return nil }
        let slice: (Range<Int>) -> ByteBuffer? = {
            chunk.getSlice(at: chunk.readerIndex + $0.lowerBound, length: $0.count)
        }
        return (found.choices.flatMap(slice), found.usage.flatMap(slice), found.extra.flatMap(slice))
    }

    private mutating func add(choices: JSONValue?, usage: JSONValue?) {
        if let usage, !usage.isNull { self.usage = usage }
        for choice in choices?.array ?? [] {
            self.add(choice, to: &self.choices[choice["index"]?.int ?? 0, default: Choice()])
        }
    }

    private func add(_ chunk: JSONValue, to choice: inout Choice) {
        if let reason = chunk["finish_reason"], !reason.isNull { choice.finishReason = reason }
        if let logprobs = chunk["logprobs"], !logprobs.isNull {
            choice.logprobs = Self.merged(choice.logprobs, logprobs)
        }
        choice.text += chunk["text"]?.string ?? ""
        for member in chunk["delta"]?.object?.members ?? [] where !member.value.isNull {
            switch member.name {
            case "role": choice.delta["role"] = member.value
            case "tool_calls":
                for call in member.value.array ?? [] {
                    Self.add(call, to: &choice.toolCalls[call["index"]?.int ?? 0, default: [:]])
                }
            default: choice.delta[member.name] = Self.merged(choice.delta[member.name] ?? .null, member.value)
            }
        }
    }

    /// A tool call comes in pieces: its name once, its arguments as text to be joined.
    private static func add(_ piece: JSONValue, to call: inout JSONFields) {
        for member in piece.object?.members ?? [] where !member.value.isNull && member.name != "index" {
            guard member.name == "function", case .object(var function)? = call["function"] else {
                call[member.name] = member.value
                continue
            }
            for part in member.value.object?.members ?? [] where !part.value.isNull {
                function[part.name] = self.merged(function[part.name] ?? .null, part.value)
            }
            call["function"] = .object(function)
        }
    }

    private static func merged(_ old: JSONValue, _ new: JSONValue) -> JSONValue {
        switch (old, new) {
        case (.string(let old), .string(let new)): return .string(old + new)
        case (.array(let old), .array(let new)): return .array(old + new)
        case (.object(var old), .object(let new)):
            for member in new.members where !member.value.isNull {
                old[member.name] = self.merged(old[member.name] ?? .null, member.value)
            }
            return .object(old)
        default: return new
        }
    }

    /// The whole answer.
    var response: JSONValue {
        var response = self.head
        response["object"] = .string(self.kind.responseObject)
        response["choices"] = .array(self.choices.sorted { $0.key < $1.key }.map { self.choice($0.key, $0.value) })
        response["usage"] = self.usage
        if !self.extra.isNull { response["nvext"] = self.extra }
        return .object(response)
    }

    private func choice(_ index: Int, _ choice: Choice) -> JSONValue {
        var result: JSONFields = ["index": JSONValue(index)]
        switch self.kind {
        case .completions: result.append("text", .string(choice.text))
        case .chat:
            var message: JSONFields = [
                "role": choice.delta["role"] ?? "assistant", "content": choice.delta["content"] ?? .null,
            ]
            // A choice without any content but tool calls has none; every other has at least an empty one.
            if message["content"] == .null, choice.toolCalls.isEmpty { message["content"] = "" }
            for member in choice.delta.members where message[member.name] == nil {
                message.append(member.name, member.value)
            }
            if !choice.toolCalls.isEmpty {
                message.append(
                    "tool_calls",
                    .array(choice.toolCalls.sorted { $0.key < $1.key }.map { .object($0.value) })
                )
            }
            result.append("message", .object(message))
        }
        result.append("finish_reason", choice.finishReason)
        result.append("logprobs", choice.logprobs)
        return .object(result)
    }

    /// The numbers of the worker, if it gave any.
    var tokenCounts: (prompt: Int, completion: Int)? {
        guard let prompt = self.usage["prompt_tokens"]?.int, let completion = self.usage["completion_tokens"]?.int
        else {
            return nil
        }
        return (prompt, completion)
    }
}
