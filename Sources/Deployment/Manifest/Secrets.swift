/// What must not be shown in messages, in `plan` or beside the logs.
package enum Secrets {
    package static let mask = "***"

    private static let words: Set<String> = [
        "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIALS", "CREDENTIAL", "APIKEY", "NKEY", "AUTH",
        "COOKIE", "BEARER",
    ]

    /// Whether a variable of this name holds something that must not be shown.
    package static func isSecret(name: String) -> Bool {
        let parts = name.uppercased().split(separator: "_").map(String.init)
        if parts.contains(where: { self.words.contains($0) }) {
            // A path to a secret, or a choice about it, is none.
            return !["FILE", "PATH", "DIR", "ENABLED", "TYPE", "SOCK", "USERNAME"].contains(parts.last ?? "")
        }
        // API_KEY, ACCESS_KEY, ... but not the KEY of KEY_PATH or PRIMARY_KEYS.
        return parts.last == "KEY" && parts.count > 1
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
}
