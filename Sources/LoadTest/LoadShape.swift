/// What is sent, how much of it, and how many at once.
package struct LoadShape: Sendable, Hashable {
    /// Requests in flight at any moment.
    package var concurrency: Int
    /// When the run ends.
    package var extent: Extent
    /// Tokens asked for in each answer (`max_tokens`).
    package var tokens: Int
    /// Words in each prompt.
    package var promptWords: Int
    /// Whether answers are streamed.
    package var isStreamed: Bool

    /// When a run ends.
    package enum Extent: Sendable, Hashable {
        /// After so many requests.
        case requests(Int)
        /// No new request after this time.
        case duration(Duration)
    }

    package init(concurrency: Int, extent: Extent, tokens: Int, promptWords: Int, isStreamed: Bool) {
        self.concurrency = concurrency
        self.extent = extent
        self.tokens = tokens
        self.promptWords = promptWords
        self.isStreamed = isStreamed
    }

    /// The prompt: words that differ, so that an engine that echoes gives each of them back as a token.
    package var prompt: String { (0..<self.promptWords).map { "word\($0)" }.joined(separator: " ") }
}
