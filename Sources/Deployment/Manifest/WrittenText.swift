/// A value as the manifest or `--set` has it: what everybody sees who may read the manifest.
struct WrittenText {
    /// The text with a `$` for each variable, and with its default in its place when it has one.
    private let text: String
    private let hasVariables: Bool

    init(_ written: String) {
        // A dollar of the text itself must not look like a variable.
        var text = written.replacing("$$", with: "\u{E000}")
        var hasVariables = false
        // Defaults may have variables themselves, so from the inside out.
        let variable = /\$\{[A-Za-z_][A-Za-z0-9_]*(?::?([\-+?])([^{}]*))?\}/
        while text.contains(variable) {
            text = text.replacing(variable) { match in
                if let words = match.2, match.1 != "?" { return String(words) }
                hasVariables = true
                return "$"
            }
        }
        self.text = text
        self.hasVariables = hasVariables
    }

    /// Whether a secret stands in it.
    ///
    /// - Parameter name: of the variable that has the value, when the value is a secret for that; nil: its looks decide.
    /// - Returns: true also for a part of one, or for the default of a variable.
    func hasSecret(called name: String?) -> Bool {
        if Secrets.credential(in: self.text.replacing("\u{E000}", with: "$")) != nil { return true }
        guard let name else { return false }
        // Around a variable there may be words (Bearer ${TOKEN}), but no part of the secret itself.
        if self.hasVariables { return self.text.contains(/[^\s=:\/@."'{}$]{4}\$|\$[^\s=:\/@?#.,;"'{}$]{4}/) }
        return self.text.split(separator: /\{\{[^{}]*\}\}/).contains { part in
            part.utf8.count >= 4 && Secrets.isSecret(value: String(part), of: name)
        }
    }
}
