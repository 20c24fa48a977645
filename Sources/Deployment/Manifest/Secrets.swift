/// What must not be shown in messages, in `plan` or beside the logs.
package enum Secrets {
    package static let mask = "***"

    private static let words: Set<String> = [
        "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASS", "PASSPHRASE", "CREDENTIALS", "CREDENTIAL", "APIKEY", "NKEY",
        "AUTH", "AUTHORIZATION", "COOKIE", "BEARER", "PGPASS",
    ]
    /// What is a secret only at the end of a name, and not alone.
    private static let ends: Set<String> = ["KEY", "PAT", "PWD"]
    /// A secret written in one word with what stands before it.
    private static let suffixes = ["TOKEN", "PASSWORD", "SECRET", "SECRETKEY", "ACCESSKEY", "PRIVATEKEY"]
    /// Ends of names that are paths to secrets, or choices and amounts about them.
    private static let harmless: Set<String> = [
        "FILE", "PATH", "DIR", "ENABLED", "TYPE", "SOCK", "USERNAME", "MODE", "METHOD", "BUDGET", "LIMIT", "COUNT",
    ]
    /// What stands before TOKEN where one of a model's vocabulary is meant, or a number of them.
    private static let vocabulary: Set<String> = [
        "EOS", "BOS", "PAD", "UNK", "SEP", "CLS", "MASK", "STOP", "IMAGE", "VIDEO", "AUDIO", "MAX", "NUM",
    ]
    /// What stands before KEY where something is found by it.
    private static let indices: Set<String> = ["SORT", "PRIMARY", "PARTITION", "CACHE", "FOREIGN", "PUBLIC"]

    /// Whether a variable of this name holds something that must not be shown.
    package static func isSecret(name: String) -> Bool {
        let parts = self.parts(of: name)
        guard let last = parts.last, !self.harmless.contains(last), !self.isHarmless(parts) else { return false }
        return self.isSecret(end: parts) || parts.contains { self.words.contains($0) }
    }

    /// Whether a variable holds something that must not be shown.
    ///
    /// A token, a key or a choice that is a short number or a yes is none; a password may be.
    package static func isSecret(name: String, value: String) -> Bool {
        self.isSecret(name: name) && self.isSecret(value: value, of: name)
    }

    /// Whether a value is one, when it is of something secret.
    static func isSecret(value: String, of name: String) -> Bool {
        if ["true", "false", "yes", "no", "on", "off"].contains(value.lowercased()) { return false }
        guard value.utf8.count < 10, value.wholeMatch(of: /[+\-]?[0-9]*\.?[0-9]+/) != nil else { return true }
        return ["PASS", "PWD", "SECRET"].contains { name.uppercased().contains($0) }
    }

    /// Whether the value of a flag, of a parameter of a URL or of a key is a secret, by its name.
    ///
    /// Only the end of such a name says what it is: a TOKEN_MAP is none.
    static func isSecret(key: Substring) -> Bool {
        let parts = self.parts(of: key.split(separator: ".").last.map(String.init) ?? "")
        guard let last = parts.last, !self.isHarmless(parts) else { return false }
        return self.isSecret(end: parts) || ["PWD", "SIG", "SIGNATURE"].contains(last)
    }

    private static func isSecret(end parts: [String]) -> Bool {
        guard let last = parts.last else { return false }
        return self.words.contains(last) || parts.count > 1 && self.ends.contains(last)
            || self.suffixes.contains(where: last.hasSuffix)
    }

    private static func isHarmless(_ parts: [String]) -> Bool {
        let before = parts.dropLast().last ?? ""
        switch parts.last {
        case "TOKEN": return self.vocabulary.contains(before)
        case "KEY": return self.indices.contains(before)
        default: return false
        }
    }

    /// The words of a name: `apiKey`, `api-key` and `API_KEY` have the same.
    private static func parts(of name: String) -> [String] {
        name.replacing(/([a-z0-9])([A-Z])/) { "\($0.1)_\($0.2)" }.uppercased()
            .split { $0 == "-" || $0 == "_" }.map(String.init)
    }

    /// A URL, or a text with URLs in it, without users and passwords.
    package static func masking(url text: String) -> String {
        var result = ""
        var rest = text[...]
        while let scheme = rest.firstRange(of: "://") {
            result += rest[..<scheme.upperBound]
            rest = rest[scheme.upperBound...]
            let authority = rest.prefix { !"/?#'\"<> \t\n".contains($0) }
            if let at = authority.lastIndex(of: "@") {
                result += self.mask
                rest = rest[at...]
            }
        }
        return result + rest
    }

    /// A text without any of the secret values.
    package static func masking(_ text: String, values: some Sequence<String>) -> String {
        var text = text
        for value in values where value.utf8.count >= 4 {
            text = text.replacing(value, with: self.mask)
        }
        return self.masking(url: text)
    }

    /// The secret values of an environment, by the names of their variables; longer ones first, since they may have shorter ones in them.
    package static func values(in environment: [String: String]) -> [String] {
        environment.filter { self.isSecret(name: $0.key, value: $0.value) }.map(\.value).sorted { $0.count > $1.count }
    }

    /// A text without users and passwords in URLs, and nothing of it where another secret is in it.
    package static func maskingCredential(_ text: String) -> String {
        let text = self.masking(url: text)
        return self.credential(in: text) == nil ? text : self.mask
    }

    /// Arguments in which each that has a secret is masked; the flag before a `=` stays.
    package static func masking(arguments: [String]) -> [String] {
        var words = arguments.map { self.masking(url: $0) }
        for (index, _) in self.credentials(in: words) {
            let flag = words[index].firstMatch(of: /^--?[A-Za-z][\w.\-]*=/).map { String($0.output) } ?? ""
            words[index] = flag + self.mask
        }
        return words
    }
}
