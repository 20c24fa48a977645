package import Deployment

/// A request for text to an OpenAI-compatible frontend.
package struct CompletionRequest: Sendable, Hashable {
    package var model: String
    package var endpoint: CanaryRequest.Endpoint
    package var prompt: String
    package var maxTokens: Int
    /// Whether the answer comes piece by piece, as server-sent events.
    package var isStreamed: Bool

    package init(
        model: String,
        endpoint: CanaryRequest.Endpoint,
        prompt: String,
        maxTokens: Int = 1,
        isStreamed: Bool = false
    ) {
        self.model = model
        self.endpoint = endpoint
        self.prompt = prompt
        self.maxTokens = maxTokens
        self.isStreamed = isStreamed
    }

    package var path: String {
        switch self.endpoint {
        case .chat: "/v1/chat/completions"
        case .completions: "/v1/completions"
        }
    }

    /// JSON.
    package var body: String {
        let text = ConsoleFormatter.quoted(self.prompt)
        let prompt =
            switch self.endpoint {
            case .chat: "\"messages\":[{\"role\":\"user\",\"content\":\(text)}]"
            case .completions: "\"prompt\":\(text)"
            }
        return
            "{\"model\":\(ConsoleFormatter.quoted(self.model)),\(prompt),\"max_tokens\":\(self.maxTokens),\"stream\":\(self.isStreamed)}"
    }
}
