import Discovery
import DynamoRuntime

/// What stands for the tokens of a prompt when nobody here has the model's tokenizer: the bytes of its text.
///
/// Prompts that begin alike have tokens that begin alike, which is what choosing a worker needs. They are not those that a
/// worker's KV events are about, unless its tokenizer makes a token of each byte and has no chat template.
enum PromptTokens {
    static func of(_ fields: JSONFields, _ kind: TextRequestKind) -> [UInt32] {
        switch kind {
        case .chat:
            // Chat templates begin with the tools.
            let tools = fields["tools"].map { self.bytes($0.text) } ?? []
            return (fields["messages"]?.array ?? []).reduce(into: tools) { tokens, message in
                // No text has these bytes, so no message can pass for two.
                tokens += self.bytes(message["role"]?.string ?? "") + [0xFE]
                tokens += self.content(message["content"]) + [0xFF]
            }
        case .completions:
            let prompt = fields["prompt"]
            if let ids = prompt?.array?.compactMap({ $0.uint64.flatMap { UInt32(exactly: $0) } }),
                !ids.isEmpty, ids.count == prompt?.array?.count
            {
                return ids
            }
            return self.content(prompt)
        }
    }

    private static func content(_ value: JSONValue?) -> [UInt32] {
        switch value {
        case .string(let text)?: self.bytes(text)
        case .array(let parts)?:
            parts.reduce(into: []) {
                $0 += self.bytes($1.string ?? $1["text"]?.string ?? $1.text) + [0xFF]
            }
        default: []
        }
    }

    private static func bytes(_ text: String) -> [UInt32] { text.utf8.map(UInt32.init) }
}
