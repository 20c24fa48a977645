import Discovery
import DynamoRuntime
import KVRouter
import RequestPlane
import Tokenization

/// Makes the chunks of an OpenAI answer from what a worker says in token ids.
///
/// A value without I/O: the caller gives the worker's items and the time. The chunks are those of Dynamo's frontend.
struct TokenAnswer: Sendable {
    /// When what happened, for `nvext.timing`.
    struct Times: Sendable {
        /// Milliseconds since the epoch.
        var received: Int
        var start: ContinuousClock.Instant
        var sent: ContinuousClock.Instant?
        var first: ContinuousClock.Instant?
        /// When another worker had processed the prompt.
        var prefilled: ContinuousClock.Instant?
        /// When the worker that decodes has answered.
        var decoding: ContinuousClock.Instant?
    }

    /// What a router knows of the choice that it made.
    struct Route: Sendable, Hashable {
        var prefill: WorkerRank
        var decode: WorkerRank
        /// The share of the prompt's blocks that the worker holds.
        var hitRate: Double
        /// Requests that waited when this one came.
        var waiting: Int
    }

    private struct Choice: Sendable {
        var detokenizer: Detokenizer
        var stops: StopMatcher
        var tokens = 0
        var isFinished = false
    }

    let kind: TextRequestKind
    var times: Times
    var route: Route?
    private let head: JSONFields
    private let request: TokenRequest
    private let tokenizer: Tokenizer
    private let choiceCount: Int
    private var choices: [Int: Choice] = [:]
    /// What the worker says of its own count; nil: it is counted here.
    private var reported: JSONValue?

    /// Starts an answer.
    ///
    /// - Parameters:
    ///   - text: the client's request.
    ///   - request: the same as the worker has it.
    ///   - id: of the request.
    ///   - model: whose tokens come.
    ///   - times: with the start of the request.
    init(_ text: TextRequest, _ request: TokenRequest, id: String, model: TokenModel, times: Times) {
        self.kind = text.kind
        self.request = request
        self.tokenizer = model.tokenizer
        self.times = times
        self.choiceCount = max(1, text.fields["n"]?.int ?? 1)
        var head: JSONFields = [
            "id": .string((text.kind == .chat ? "chatcmpl-" : "cmpl-") + id), "choices": [],
            "created": JSONValue(times.received / 1000), "model": .string(text.model),
        ]
        if text.kind == .chat { head.append("service_tier", nil) }
        head.append("system_fingerprint", nil)
        head.append("object", .string(text.kind == .chat ? "chat.completion.chunk" : "text_completion"))
        head.append("usage", nil)
        self.head = head
    }

    /// Whether all that the client asked for has come.
    var isFinished: Bool { self.choices.count >= self.choiceCount && self.choices.values.allSatisfy(\.isFinished) }

    /// Whether the worker has said anything.
    var hasBegun: Bool { !self.choices.isEmpty }

    /// Tokens that have come.
    var completionTokens: Int { self.choices.values.reduce(0) { $0 + $1.tokens } }

    // MARK: Items

    /// Takes an item of the worker.
    ///
    /// - Returns: the chunks that it makes, and the tokens that it had.
    /// - Throws: what the worker reports, or why the item cannot be read.
    mutating func take(
        _ item: JSONValue,
        now: ContinuousClock.Instant
    ) throws(RemoteError) -> (chunks: [JSONValue], tokens: Int) {
        guard item.object != nil else {
            throw RemoteError(
                kind: .unknown,
                message: "the worker sent \(item.kind) where an object with token_ids was due"
            )
        }
        let index = item["index"]?.int ?? 0
        let reason = try Self.reason(item["finish_reason"])
        if let usage = item["completion_usage"], !usage.isNull { self.reported = usage }
        var choice =
            self.choices[index]
            ?? Choice(
                detokenizer: Detokenizer(self.tokenizer, skipsSpecialTokens: self.request.skipsSpecialTokens),
                stops: StopMatcher(self.request.stops, includesStop: self.request.includesStop)
            )
        guard !choice.isFinished else { return ([], 0) }
        if self.times.first == nil { self.times.first = self.times.prefilled ?? now }
        if self.times.decoding == nil { self.times.decoding = now }
        let ids = (item["token_ids"]?.array ?? []).compactMap { $0.uint64.flatMap { UInt32(exactly: $0) } }
        var text = ""
        var finish = reason
        for id in ids {
            choice.tokens += 1
            let mayStop = choice.tokens > self.request.minimalTokens
            if mayStop, self.request.endTokens.contains(id) {
                finish = finish ?? "stop"
                break
            }
            let part = choice.stops.append(choice.detokenizer.append([id]), mayStop: mayStop)
            text += part.text
            if part.isStopped {
                finish = "stop"
                choice.isFinished = true
                break
            }
        }
        if finish != nil, !choice.isFinished {
            let rest = choice.stops.append(choice.detokenizer.finish(), isLast: true)
            text += rest.text
            if rest.isStopped { finish = "stop" }
        }
        choice.isFinished = finish != nil
        self.choices[index] = choice
        let logprobs = self.request.wantsLogprobs ? self.logprobs(item, ids) : nil
        guard !text.isEmpty || finish != nil || logprobs != nil else { return ([], ids.count) }
        return ([self.chunk(index, text, finish, logprobs, now)], ids.count)
    }

    /// The worker has ended, or all has come.
    ///
    /// - Returns: what is left to say.
    mutating func end(now: ContinuousClock.Instant) -> [JSONValue] {
        var chunks: [JSONValue] = []
        for (index, choice) in self.choices.sorted(by: { $0.key < $1.key }) where !choice.isFinished {
            // A worker that ends without a reason has still ended.
            var open = choice
            let rest = open.stops.append(open.detokenizer.finish(), isLast: true)
            open.isFinished = true
            self.choices[index] = open
            chunks.append(self.chunk(index, rest.text, "stop", nil, now))
        }
        guard self.request.reportsUsage else { return chunks }
        var chunk = self.head
        let prompt = self.request.tokens.count
        var usage: JSONFields = [
            "prompt_tokens": JSONValue(prompt), "completion_tokens": JSONValue(self.completionTokens),
            "total_tokens": JSONValue(prompt + self.completionTokens),
        ]
        if let details = self.reported?["prompt_tokens_details"], !details.isNull {
            usage.append("prompt_tokens_details", details)
        }
        chunk["usage"] = .object(usage)
        return chunks + [.object(chunk)]
    }

    /// Reads why a worker ended, in the words of OpenAI.
    private static func reason(_ value: JSONValue?) throws(RemoteError) -> String? {
        guard let value, !value.isNull else { return nil }
        if let message = value["error"]?.string { throw RemoteError(kind: .unknown, message: message) }
        guard let word = value.string else {
            throw RemoteError(kind: .unknown, message: "the worker ended for a reason that is \(value.kind)")
        }
        switch word {
        case "length", "content_filter", "stop": return word
        case "eos", "cancelled": return "stop"
        default:
            guard word.hasPrefix("error") else { return word }
            throw RemoteError(kind: .unknown, message: word)
        }
    }

    // MARK: Chunks

    private func chunk(
        _ index: Int,
        _ text: String,
        _ finish: String?,
        _ logprobs: JSONValue?,
        _ now: ContinuousClock.Instant
    ) -> JSONValue {
        var chunk = self.head
        switch self.kind {
        case .chat:
            var delta = JSONFields()
            if !text.isEmpty { delta.append("content", .string(text)) }
            delta.append("role", "assistant")
            chunk["choices"] = [
                [
                    "index": JSONValue(index), "delta": .object(delta),
                    "finish_reason": finish.map(JSONValue.string) ?? .null, "logprobs": logprobs ?? .null,
                ]
            ]
        case .completions:
            var choice: JSONFields = ["text": .string(text), "index": JSONValue(index)]
            if let logprobs { choice.append("logprobs", logprobs) }
            if let finish { choice.append("finish_reason", .string(finish)) }
            chunk["choices"] = [.object(choice)]
        }
        var extra = JSONFields()
        if let route = self.route, self.request.extraFields.contains("worker_id") {
            extra.append(
                "worker_id",
                [
                    "prefill_worker_id": JSONValue(route.prefill.worker),
                    "prefill_dp_rank": JSONValue(route.prefill.rank),
                    "decode_worker_id": JSONValue(route.decode.worker), "decode_dp_rank": JSONValue(route.decode.rank),
                ]
            )
        }
        if finish != nil, self.request.extraFields.contains("timing") { extra.append("timing", self.timing(now)) }
        if !extra.members.isEmpty { chunk.append("nvext", .object(extra)) }
        return .object(chunk)
    }

    private func timing(_ now: ContinuousClock.Instant) -> JSONValue {
        func milliseconds(_ from: ContinuousClock.Instant, _ to: ContinuousClock.Instant) -> JSONValue {
            let parts = (to - from).components
            return .number(String(Double(parts.seconds) * 1e3 + Double(parts.attoseconds) / 1e15))
        }
        var timing: JSONFields = ["request_received_ms": JSONValue(self.times.received)]
        if self.route != nil, let sent = self.times.sent, let first = self.times.first {
            timing.append("prefill_wait_time_ms", milliseconds(self.times.start, sent))
            timing.append("prefill_time_ms", milliseconds(sent, first))
            timing.append("ttft_ms", milliseconds(self.times.start, first))
        }
        timing.append("total_time_ms", milliseconds(self.times.start, now))
        if let route = self.route {
            timing.append("kv_hit_rate", .number(String(route.hitRate)))
            timing.append("router_queue_depth", JSONValue(route.waiting))
            if let prefilled = self.times.prefilled, let decoding = self.times.decoding {
                timing.append("kv_transfer_estimated_latency_ms", milliseconds(prefilled, decoding))
            }
        }
        return .object(timing)
    }

    // MARK: Log probabilities

    private func logprobs(_ item: JSONValue, _ ids: [UInt32]) -> JSONValue? {
        guard let values = item["log_probs"]?.array, !values.isEmpty else { return nil }
        let tops = item["top_logprobs"]?.array ?? []
        let tokens = zip(ids, values).enumerated().map { index, pair -> JSONFields in
            var entry = Self.entry(self.tokenizer.bytes(of: pair.0), pair.1)
            let others = index < tops.count ? tops[index].array ?? [] : []
            entry.append("top_logprobs", .array(others.map { .object(self.other($0)) }))
            return entry
        }
        switch self.kind {
        case .chat: return ["content": .array(tokens.map(JSONValue.object)), "refusal": nil]
        case .completions:
            return [
                "tokens": .array(tokens.map { $0["token"] ?? .null }), "token_logprobs": .array(values),
                "top_logprobs": .array(tokens.map { $0["top_logprobs"] ?? [] }), "text_offset": [],
            ]
        }
    }

    private func other(_ value: JSONValue) -> JSONFields {
        let logprob = value["logprob"] ?? .null
        if let text = value["token"]?.string { return Self.entry(Array(text.utf8), logprob) }
        let id = value["token_id"]?.uint64.flatMap { UInt32(exactly: $0) }
        return Self.entry(id.map(self.tokenizer.bytes) ?? [], logprob)
    }

    private static func entry(_ bytes: [UInt8], _ logprob: JSONValue) -> JSONFields {
        [
            "token": .string(String(decoding: bytes, as: UTF8.self)), "logprob": logprob,
            "bytes": .array(bytes.map { JSONValue($0) }),
        ]
    }
}
