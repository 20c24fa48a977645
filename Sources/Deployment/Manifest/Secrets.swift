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

    /// A URL without the user and password in it.
    package static func masking(url: String) -> String {
        guard let scheme = url.firstRange(of: "://") else { return url }
        let rest = url[scheme.upperBound...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard let at = authority.lastIndex(of: "@") else { return url }
        return url[..<scheme.upperBound] + self.mask + rest[at...]
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
