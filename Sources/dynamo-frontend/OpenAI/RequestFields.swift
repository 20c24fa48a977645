import DynamoRuntime

/// The top-level fields that a request may have: those that Dynamo 1.2.1's frontend takes, found by trying.
///
/// A field outside these never reaches a worker; the frontend answers 400, as Dynamo's does.
enum RequestFields {
    private static let shared: Set<String> = [
        "model", "stream", "stream_options", "metadata", "frequency_penalty", "presence_penalty", "logit_bias",
        "logprobs",
        "max_tokens", "n", "seed", "stop", "temperature", "top_p", "user", "nvext", "ignore_eos", "min_tokens", "top_k",
        "min_p",
        "repetition_penalty", "include_stop_str_in_output", "guided_json", "guided_regex", "guided_choice",
        "guided_grammar",
        "guided_decoding_backend", "guided_whitespace_pattern", "skip_special_tokens", "return_tokens_as_token_ids",
    ]

    private static let chat = shared.union([
        "messages", "store", "reasoning_effort", "top_logprobs", "max_completion_tokens", "modalities", "prediction",
        "audio",
        "response_format", "service_tier", "tools", "tool_choice", "parallel_tool_calls", "function_call", "functions",
        "web_search_options", "chat_template_args", "chat_template_kwargs", "media_io_kwargs", "mm_processor_kwargs",
    ])

    private static let completions = shared.union(["prompt", "echo", "best_of", "suffix", "prompt_embeds"])

    static func known(for kind: TextRequestKind) -> Set<String> {
        switch kind {
        case .chat: self.chat
        case .completions: self.completions
        }
    }

    /// Numbers that must lie in a range.
    static let ranges: [(name: String, range: ClosedRange<Double>)] = [
        ("temperature", 0...2), ("top_p", 0...1), ("min_p", 0...1), ("frequency_penalty", -2...2),
        ("presence_penalty", -2...2),
        ("n", 1...128), ("top_logprobs", 0...20),
    ]

    static let roles: Set<String> = ["developer", "system", "user", "assistant", "tool", "function"]

    static let mostStopSequences = 32
}
