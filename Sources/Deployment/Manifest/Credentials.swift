/// What is a secret by its looks, whatever the variable is called that has it.
extension Secrets {
    /// What in a text everybody must not read.
    ///
    /// A value that refers to something (`$TOKEN`, `<token>`, `***`) or names a file is none.
    ///
    /// - Parameter text: a value, an argument or a line for a shell.
    /// - Returns: words for messages, without the secret itself; nil: nothing.
    package static func credential(in text: String) -> String? {
        // Every variable of every process comes here: expressions are tried only where they can match.
        var found = (colon: false, equals: false, space: false, quote: false, dash: false)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: ":"): found.colon = true
            case UInt8(ascii: "="): found.equals = true
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\n"), UInt8(ascii: "\r"): found.space = true
            case UInt8(ascii: "'"), UInt8(ascii: "\""): found.quote = true
            case UInt8(ascii: "-"): found.dash = true
            default: break
            }
        }
        if found.dash, text.contains("PRIVATE KEY-----") { return "a private key" }
        if found.colon, self.hasPassword(url: text) { return "a URL with a password" }
        // The shortest is an AWS key.
        if text.utf8.count >= 16, text.contains(self.form) { return "what has the form of a token or key" }
        guard found.colon || found.equals || found.space && found.dash else { return nil }
        for match in text.matches(
            of: /(?:^|["'\s,;&])((?:[Pp]roxy-)?[Aa]uthorization|[Cc]ookie)\s*[:=]\s*([^"',;&]+)/
        ) where !match.2.contains("$") && self.isValue(match.2) {
            return "the header '\(match.1)'"
        }
        for match in text.matches(of: /(?:^|[?&;,\s"'({])-{0,2}([A-Za-z][\w.\-]*)(?:=|:\s)\s*["']?([^\s"'&;,]+)/)
        where self.isSecret(key: match.1, value: match.2) {
            return "'\(Spelling.excerpt(String(match.1)))'"
        }
        guard found.quote || found.space && found.dash else { return nil }
        for match in text.matches(of: /["']([A-Za-z][\w.\-]*)["']\s*:\s*["']([^"']+)["']/)
        where self.isSecret(key: match.1, value: match.2) {
            return "'\(Spelling.excerpt(String(match.1)))'"
        }
        for match in text.matches(of: /(?:^|\s)(--?[A-Za-z][\w\-]*)\s+["']?([^\s"'\-][^\s"']*)/)
        where self.isSecret(key: match.1, value: match.2) {
            return "'\(Spelling.excerpt(String(match.1)))'"
        }
        return nil
    }

    /// The arguments with something in them that everybody must not read.
    ///
    /// - Parameter words: the arguments of one program, in order.
    /// - Returns: the numbers of the arguments, from 0, with words for messages.
    package static func credentials(in words: [String]) -> [(index: Int, what: String)] {
        words.enumerated().compactMap { index, word in
            let flag = index > 0 ? words[index - 1] : ""
            let isFlag = flag.hasPrefix("-") && !flag.contains("=") && !flag.contains(" ") && !word.hasPrefix("-")
            if let what = self.credential(in: word) { return (index, isFlag ? "'\(flag)', \(what)" : what) }
            guard isFlag, self.isSecret(key: flag[...], value: word[...]) else { return nil }
            return (index, "'\(flag)'")
        }
    }

    /// Tokens that are known by how they begin, of GitHub, GitLab, Hugging Face, NVIDIA, OpenAI and others, AWS and Slack, and JSON Web Tokens.
    private static var form: Regex<Substring> {
        // As long as real ones, nearly: an option may begin so too (sk-..., hf_transfer).
        /(?:^|[^A-Za-z0-9_\-])(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w\-]{16,}|hf_[A-Za-z0-9]{16,}|nvapi-[\w\-]{16,}|sk-(?=[\w\-]*[0-9])[\w\-]{16,}|xox[abprs]-[\w\-]{10,}|A[KS]IA[A-Z0-9]{16}|https:\/\/hooks\.slack\.com\/services\/\w+|eyJ[\w\-]{5,}\.[\w\-]{5,}\.[\w\-]{5,})/
    }

    private static func isSecret(key: Substring, value: Substring) -> Bool {
        self.isSecret(key: key) && self.isValue(value) && self.isSecret(value: String(value), of: String(key))
    }

    /// Whether a text may be a secret itself; of a header, what follows the scheme.
    private static func isValue(_ text: Substring) -> Bool {
        let words: Set = [
            "true", "false", "none", "null", "yes", "no", "on", "off", "auto", "basic", "bearer", "token", "required",
            "empty",
        ]
        let text = text.replacing("%20", with: " ").replacing(/^\s*(?:[Bb]asic|[Bb]earer|[Tt]oken)\s+/, with: "")
        guard let first = text.first, !"$<[{*".contains(first), !words.contains(text.lowercased()) else { return false }
        if text.utf8.count < 4, text.allSatisfy(\.isNumber) { return false }
        return text.wholeMatch(of: /\.{0,2}\/[\w.\-]+(?:\/[\w.\-]+)*/) == nil
    }

    /// Whether a URL in a text has a password, or a token in the place of a user.
    private static func hasPassword(url text: String) -> Bool {
        // By hand: an expression that begins with a word of any length takes the square of a long text's length.
        var rest = text[...]
        while let mark = rest.firstRange(of: "://") {
            let scheme = rest[..<mark.lowerBound].reversed().prefix { $0.isASCII && $0.isLetter || $0.isNumber }
            rest = rest[mark.upperBound...]
            let authority = rest.prefix { !"/?#'\"<>".contains($0) && !$0.isWhitespace }
            guard let at = authority.lastIndex(of: "@") else { continue }
            let user = authority[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            // Elsewhere a name alone is a name: ssh://git@host.
            let isToken =
                user.count == 1
                && ["http", "https", "ws", "wss", "nats", "tls"].contains(String(scheme.reversed()).lowercased())
            if user.count == 2 || isToken, let secret = user.last, self.isValue(secret) { return true }
        }
        return false
    }
}
