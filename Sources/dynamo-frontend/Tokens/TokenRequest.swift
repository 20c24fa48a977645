import Discovery
import DynamoRuntime
import KVRouter
import NIOCore
import RequestPlane
import Tokenization

/// A client's request as a worker gets it that takes token ids.
///
/// The form is what a frontend of Dynamo 1.2.1 sends.
struct TokenRequest: Sendable {
    var tokens: [UInt32]
    /// What the tokens were made of; nil when the client sent tokens.
    var text: String?
    var stops: [String]
    var endTokens: Set<UInt32>
    var includesStop: Bool
    var skipsSpecialTokens: Bool
    var minimalTokens: Int
    var wantsLogprobs: Bool
    var reportsUsage: Bool
    var annotations: [String]
    var extraFields: Set<String>
    /// The worker that the client wants the prompt to be processed by.
    var prefillWorker: SelectionRequest.NamedWorker?
    private var fields: JSONFields

    /// Makes tokens of a request.
    ///
    /// - Parameters:
    ///   - request: checked already.
    ///   - model: whose workers get it.
    /// - Throws: what is wrong with it, or not possible here.
    init(_ request: TextRequest, _ model: TokenModel) throws(OpenAIError) {
        let source = request.fields
        let extension_ = source["nvext"]
        try Self.refuse(source, request.kind)
        let ignoresEnd = (source["ignore_eos"] ?? extension_?["ignore_eos"])?.bool ?? false
        (self.tokens, self.text) = try Self.prompt(request, model)
        guard !self.tokens.isEmpty else {
            throw .invalid("The prompt has no tokens", param: Self.promptField(request.kind))
        }
        guard self.tokens.count < model.contextLength else {
            throw .invalid(
                "The prompt has \(self.tokens.count) tokens; the model's context has \(model.contextLength), "
                    + "the answer's included",
                param: Self.promptField(request.kind),
                code: "context_length_exceeded"
            )
        }
        self.stops = try Self.stops(source["stop"])
        self.endTokens = ignoresEnd ? [] : Set(model.endTokens)
        self.includesStop = source["include_stop_str_in_output"]?.bool ?? false
        self.skipsSpecialTokens = source["skip_special_tokens"]?.bool ?? true
        self.minimalTokens = source["min_tokens"]?.int ?? 0
        self.reportsUsage = !request.streams || source["stream_options"]?["include_usage"]?.bool == true
        self.annotations = (extension_?["annotations"]?.array ?? []).compactMap(\.string)
        self.extraFields = Set((extension_?["extra_fields"]?.array ?? []).compactMap(\.string))
        self.prefillWorker = extension_?["prefill_worker_id"]?.uint64.map { SelectionRequest.NamedWorker(worker: $0) }
        let logprobs = Self.logprobs(source, request.kind)
        self.wantsLogprobs = logprobs != nil

        func given(_ name: String) -> JSONValue { source[name] ?? .null }
        self.fields = [
            "model": .string(request.model), "token_ids": .array(self.tokens.map { JSONValue($0) }),
            "stop_conditions": [
                "max_tokens": source["max_completion_tokens"] ?? given("max_tokens"),
                "stop": self.stops.isEmpty ? nil : .array(self.stops.map(JSONValue.string)), "stop_token_ids": nil,
                "stop_token_ids_hidden": ignoresEnd ? nil : .array(model.endTokens.map { JSONValue($0) }),
                "min_tokens": given("min_tokens"), "ignore_eos": ignoresEnd ? true : given("ignore_eos"),
                "max_thinking_tokens": nil,
            ],
            "sampling_options": [
                "n": given("n"), "best_of": given("best_of"), "presence_penalty": given("presence_penalty"),
                "frequency_penalty": given("frequency_penalty"), "repetition_penalty": given("repetition_penalty"),
                "temperature": given("temperature"), "top_p": given("top_p"), "top_k": given("top_k"),
                "min_p": given("min_p"), "use_beam_search": nil, "length_penalty": nil, "seed": given("seed"),
                "include_stop_str_in_output": given("include_stop_str_in_output"),
                "guided_decoding": try Self.guide(source),
            ],
            "output_options": [
                "logprobs": logprobs ?? .null, "prompt_logprobs": nil,
                "skip_special_tokens": given("skip_special_tokens"), "formatted_prompt": nil,
                "return_tokens_as_token_ids": given("return_tokens_as_token_ids"),
            ],
            "eos_token_ids": .array(ignoresEnd ? [] : model.endTokens.map { JSONValue($0) }),
            "mdc_sum": nil, "annotations": .array(self.annotations.map(JSONValue.string)),
        ]
        if let extension_, !extension_.isNull { self.fields.append("routing", .object(Self.routing(extension_))) }
        self.fields.append("router_config_override", nil)
    }

    /// The request as a worker gets it.
    ///
    /// - Parameters:
    ///   - rank: of the worker, where a router has chosen one.
    ///   - part: what of the work the worker does.
    /// - Returns: JSON.
    func payload(for rank: WorkerRank? = nil, _ part: Part = .all) -> ByteBuffer {
        var fields = self.fields
        if rank != nil || part != .all {
            var routing = fields["routing"]?.object ?? JSONFields()
            if let rank { routing["dp_rank"] = JSONValue(rank.rank) }
            fields["routing"] = .object(routing)
        }
        switch part {
        case .all: break
        case .prefill:
            var stop = fields["stop_conditions"]?.object ?? JSONFields()
            stop["max_tokens"] = 1
            fields["stop_conditions"] = .object(stop)
        case .decode(let parameters):
            fields["router_config_override"] = [
                "overlap_score_credit": .number("0.0"), "prefill_load_scale": nil, "router_temperature": nil,
                "assume_kv_reuse": false, "track_prefill_tokens": false, "shared_cache_multiplier": nil,
            ]
            fields["prefill_result"] = ["disaggregated_params": parameters]
        }
        return JSONValue.object(fields).buffer
    }

    /// A part of the work, in the form in which a frontend of Dynamo 1.2.1 gives it to workers (observed).
    enum Part: Hashable, Sendable {
        case all
        /// The prompt, and one token that nobody sees.
        case prefill
        /// All tokens, with what the worker that processed the prompt has said of where its blocks are.
        case decode(JSONValue)
    }

    /// What the client has asked to be told beside the answer, in the order of Dynamo's frontend.
    func annotationItems(id: String) -> [ResponseItem] {
        var items: [ResponseItem] = []
        func add(_ name: String, _ value: String?) {
            guard self.annotations.contains(name), let value else { return }
            items.append(.annotation(event: name, comments: [JSONValue.string(value).text]))
        }
        add("request_id", id)
        add("formatted_prompt", self.text)
        add("token_ids", JSONValue.array(self.tokens.map { JSONValue($0) }).text)
        return items
    }

    private static func promptField(_ kind: TextRequestKind) -> String { kind == .chat ? "messages" : "prompt" }

    // MARK: What cannot be done

    private static func refuse(_ fields: JSONFields, _ kind: TextRequestKind) throws(OpenAIError) {
        func refuse(_ name: String, _ why: String) -> OpenAIError {
            .invalid("`\(name)` \(why)", param: name, code: "unsupported_parameter")
        }
        if fields["echo"]?.bool == true { throw refuse("echo", "is not supported for workers that take token ids") }
        if fields["suffix"]?.string?.isEmpty == false {
            throw refuse("suffix", "is not supported for workers that take token ids")
        }
        if fields["prompt_embeds"].map({ !$0.isNull }) == true {
            throw refuse("prompt_embeds", "is not supported for workers that take token ids")
        }
        if let choice = fields["tool_choice"], !choice.isNull, choice != "auto", choice != "none" {
            throw refuse("tool_choice", "must be auto or none: this frontend does not force a tool's call")
        }
    }

    // MARK: Prompt

    private static func prompt(
        _ request: TextRequest,
        _ model: TokenModel
    ) throws(OpenAIError) -> (tokens: [UInt32], text: String?) {
        if let data = request.fields["nvext"]?["token_data"], !data.isNull {
            guard let tokens = self.tokens(data) else {
                throw .invalid("`nvext.token_data` must be a list of token ids", param: "nvext.token_data")
            }
            return (tokens, nil)
        }
        switch request.kind {
        case .chat:
            let text = try ChatPrompt.text(request.fields, model)
            return (model.tokenizer.encode(text), text)
        case .completions:
            let prompt = request.fields["prompt"] ?? .null
            if let text = prompt.string { return (model.tokenizer.encode(text), text) }
            if let tokens = self.tokens(prompt) { return (tokens, nil) }
            guard let elements = prompt.array, elements.count == 1, let only = elements.first else {
                throw .invalid(
                    "`prompt` must be one text or one list of token ids; send several prompts one by one",
                    param: "prompt"
                )
            }
            if let text = only.string { return (model.tokenizer.encode(text), text) }
            guard let tokens = self.tokens(only) else {
                throw .invalid("`prompt` must be text or token ids below 2^32", param: "prompt")
            }
            return (tokens, nil)
        }
    }

    private static func tokens(_ value: JSONValue) -> [UInt32]? {
        guard let elements = value.array, !elements.isEmpty else { return nil }
        let tokens = elements.compactMap { $0.uint64.flatMap { UInt32(exactly: $0) } }
        return tokens.count == elements.count ? tokens : nil
    }

    // MARK: Options

    private static func stops(_ value: JSONValue?) throws(OpenAIError) -> [String] {
        switch value {
        case nil, .null?: return []
        case .string(let text)?: return text.isEmpty ? [] : [text]
        case .array(let elements)?:
            let texts = elements.compactMap(\.string)
            guard texts.count == elements.count else { throw .invalid("`stop` must hold strings", param: "stop") }
            return texts.filter { !$0.isEmpty }
        default: throw .invalid("`stop` must be a string or a list of strings", param: "stop")
        }
    }

    private static func logprobs(_ fields: JSONFields, _ kind: TextRequestKind) -> JSONValue? {
        switch kind {
        case .chat:
            guard fields["logprobs"]?.bool == true else { return nil }
            let top = fields["top_logprobs"] ?? .null
            return top.isNull ? 1 : top
        case .completions:
            guard let count = fields["logprobs"], !count.isNull else { return nil }
            return count
        }
    }

    private static func guide(_ fields: JSONFields) throws(OpenAIError) -> JSONValue {
        var guide = JSONFields()
        for name in ["json", "regex", "choice", "grammar"] {
            if let value = fields["guided_\(name)"], !value.isNull { guide.append(name, value) }
        }
        if let format = fields["response_format"], !format.isNull {
            switch format["type"]?.string {
            case "text"?: break
            case "json_object"?: guide.append("json", ["type": "object"])
            case "json_schema"?:
                guard let schema = format["json_schema"]?["schema"], !schema.isNull else {
                    throw .invalid("`response_format.json_schema.schema` is missing", param: "response_format")
                }
                guide.append("json", schema)
            default:
                throw .invalid(
                    "`response_format.type` must be text, json_object or json_schema",
                    param: "response_format"
                )
            }
        }
        guard guide.members.count <= 1 else {
            let names = guide.members.map(\.name).joined(separator: ", ")
            throw .invalid("Only one way to guide the output can be given, not several: \(names)")
        }
        if guide.members.isEmpty { return nil }
        if let backend = fields["guided_decoding_backend"], !backend.isNull { guide.append("backend", backend) }
        if let pattern = fields["guided_whitespace_pattern"], !pattern.isNull {
            guide.append("whitespace_pattern", pattern)
        }
        return .object(guide)
    }

    private static func routing(_ extension_: JSONValue) -> JSONFields {
        var routing = JSONFields()
        for name in ["backend_instance_id", "prefill_worker_id", "decode_worker_id", "dp_rank"] {
            if let value = extension_[name], !value.isNull { routing.append(name, value) }
        }
        return routing
    }
}
