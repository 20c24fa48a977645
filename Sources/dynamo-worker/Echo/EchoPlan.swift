import RequestPlane

/// The whole answer to a request, decided before its first token.
struct EchoPlan: Sendable, Hashable {
    enum FinishReason: String, Sendable, Hashable {
        case stop
        case length
    }

    struct Choice: Sendable, Hashable {
        var tokens: [Substring]
        var finishReason: FinishReason
    }

    var model: String
    let choices: [Choice]
    var promptTokens: Int
    var includesUsage: Bool

    init(request: EchoRequest, contextLength: Int) throws(RemoteError) {
        self.model = request.model
        self.includesUsage = request.includesUsage
        self.promptTokens = request.promptTexts.reduce(0) { $0 + EchoTokens.count($1) }
        guard self.promptTokens < contextLength else {
            throw RemoteError(
                kind: .invalidArgument,
                message:
                    "the prompt has \(self.promptTokens) tokens; the context of `\(request.model)` has \(contextLength)"
            )
        }
        let limit = min(request.maxTokens ?? .max, contextLength - self.promptTokens)
        self.choices = request.texts.flatMap { text in
            let choice = Self.choice(text, stop: request.stop, limit: limit)
            return Array(repeating: choice, count: request.choices)
        }
        self.steps = self.choices.map(\.tokens.count).max() ?? 0
    }

    var completionTokens: Int { self.choices.reduce(0) { $0 + $1.tokens.count } }

    /// How many chunks with tokens there are.
    let steps: Int

    private static func choice(_ text: String, stop: [String], limit: Int) -> Choice {
        let end = stop.compactMap { Self.firstIndex(of: $0, in: text) }.min() ?? text.endIndex
        let tokens = EchoTokens.split(String(text[..<end]))
        guard tokens.count > limit else { return Choice(tokens: tokens, finishReason: .stop) }
        return Choice(tokens: Array(tokens.prefix(limit)), finishReason: .length)
    }

    /// Where a text begins in another one, by bytes: stop strings need not end with a whole character.
    private static func firstIndex(of needle: String, in text: String) -> String.Index? {
        let needle = Array(needle.utf8)
        var rest = text.utf8[...]
        while rest.count >= needle.count {
            if rest.starts(with: needle) {
                return rest.startIndex.samePosition(in: text.unicodeScalars).flatMap { $0 }
            }
            rest = rest.dropFirst()
        }
        return nil
    }
}
