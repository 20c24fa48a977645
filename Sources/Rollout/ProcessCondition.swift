/// How a process of a generation is, as far as a migration wants to know.
package struct ProcessCondition: Sendable, Hashable {
    /// With its generation in front, as in the launcher's lines.
    package var name: String
    package var isReady: Bool
    /// How often it was started again since its generation was started.
    package var restarts: Int
    /// What it does or waits for, and where its log is.
    package var words: String

    package init(name: String, isReady: Bool, restarts: Int, words: String) {
        self.name = name
        self.isReady = isReady
        self.restarts = restarts
        self.words = words
    }
}
