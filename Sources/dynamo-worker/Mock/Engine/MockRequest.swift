import Discovery
import NIOCore
import RequestPlane

/// What of a tokenized request matters to the simulated engine (contract `discovery.md`, section 8).
struct MockRequest: Sendable, Hashable {
    /// What no request may exceed.
    struct Limits: Sendable, Hashable {
        /// The most tokens of prompt and answer.
        var contextLength: Int
        /// Tokens that the whole cache can hold.
        var cacheTokens: Int
        /// Tokens of an answer whose request says nothing about its length.
        var answerTokens: Int
    }

    var prompt: [UInt32]
    /// Tokens of the answer, unless a stop token comes first.
    var maxTokens: Int
    /// Stop tokens are ignored before that many tokens.
    var minTokens = 0
    var stopTokens: Set<UInt32> = []
    /// How an answer of `maxTokens` ends: an answer whose length nobody asked for ends by itself.
    var endReason = MockEngine.FinishReason.length
    var seed: UInt64 = 0
    var lora: String?
    /// Whether another worker has processed the prompt, whose blocks come from there.
    var isTransferred = false

    init(prompt: [UInt32], maxTokens: Int) {
        self.prompt = prompt
        self.maxTokens = maxTokens
    }

    init(parsing payload: ByteBuffer, limits: Limits) throws(RemoteError) {
        let body: JSONValue
        do { body = try JSONValue(parsing: payload) } catch { throw Self.invalid("the request is not JSON: \(error)") }
        self.prompt = try Self.tokens(body, "token_ids", in: "")
        guard !self.prompt.isEmpty else { throw Self.invalid("`token_ids` is empty") }
        let room = min(limits.contextLength, limits.cacheTokens)
        guard self.prompt.count < room else {
            let cause =
                limits.cacheTokens < limits.contextLength
                ? "the cache holds \(limits.cacheTokens); give it more with --num-blocks"
                : "the context has \(limits.contextLength)"
            throw Self.invalid("the prompt has \(self.prompt.count) tokens; \(cause)")
        }
        let stop = body["stop_conditions"] ?? .null
        let asked = try Self.count(stop, "max_tokens")
        self.maxTokens = min(asked ?? limits.answerTokens, room - self.prompt.count)
        if asked == nil, limits.answerTokens <= self.maxTokens { self.endReason = .stop }
        self.minTokens = try Self.count(stop, "min_tokens") ?? 0
        self.stopTokens = Set(try Self.tokens(stop, "stop_token_ids", in: "stop_conditions."))
        if stop["ignore_eos"]?.bool != true {
            self.stopTokens.formUnion(try Self.tokens(stop, "stop_token_ids_hidden", in: "stop_conditions."))
            self.stopTokens.formUnion(try Self.tokens(body, "eos_token_ids", in: ""))
        }
        // Clients give signed seeds; any bits will do.
        let seed = body["sampling_options"]?["seed"]
        self.seed = seed?.uint64 ?? UInt64(bitPattern: Int64(seed?.int ?? 0))
        self.isTransferred = body["prefill_result"].map { !$0.isNull } ?? false
        self.lora = body["routing"]?["lora_name"]?.string ?? body["lora_name"]?.string
    }

    private static func tokens(_ body: JSONValue, _ name: String, in place: String) throws(RemoteError) -> [UInt32] {
        guard let value = body[name], !value.isNull else { return [] }
        guard let elements = value.array else {
            throw self.invalid("`\(place)\(name)` must be a list of token ids, not \(value.kind)")
        }
        var tokens: [UInt32] = []
        tokens.reserveCapacity(elements.count)
        for element in elements {
            guard let token = element.uint64.flatMap(UInt32.init(exactly:)) else {
                throw self.invalid("`\(place)\(name)` must hold token ids, whole numbers below 2^32")
            }
            tokens.append(token)
        }
        return tokens
    }

    private static func count(_ body: JSONValue, _ name: String) throws(RemoteError) -> Int? {
        guard let value = body[name], !value.isNull else { return nil }
        guard let number = value.int, number >= 0 else {
            throw self.invalid("`stop_conditions.\(name)` must be a whole number from 0")
        }
        return number
    }

    private static func invalid(_ message: String) -> RemoteError {
        RemoteError(kind: .invalidArgument, message: message)
    }
}
