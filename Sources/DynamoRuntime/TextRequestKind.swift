/// The two kinds of un-tokenized requests that a text worker answers.
package enum TextRequestKind: String, Sendable, Hashable, CaseIterable {
    case chat
    case completions

    /// `object` of a streamed chunk.
    package var chunkObject: String {
        switch self {
        case .chat: "chat.completion.chunk"
        case .completions: "text_completion"
        }
    }

    /// `object` of a whole answer.
    package var responseObject: String {
        switch self {
        case .chat: "chat.completion"
        case .completions: "text_completion"
        }
    }

    /// What ids of answers begin with.
    package var idPrefix: String {
        switch self {
        case .chat: "chatcmpl"
        case .completions: "cmpl"
        }
    }
}
