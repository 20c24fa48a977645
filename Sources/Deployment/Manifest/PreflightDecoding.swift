/// A command that is run before anything is started, and may refuse the start.
package struct PreflightManifest: Sendable, Hashable {
    /// What templates call its value: `{{preflight.NAME}}`.
    package var name: Located<String>
    /// A program and its arguments; there is no shell.
    package var command: [String]
    /// Seconds.
    package var timeout: Double

    /// What its value is called in templates.
    var templateName: String { "preflight.\(self.name.value)" }
}

extension ManifestDecoder {
    mutating func preflight(_ node: ManifestNode) -> [PreflightManifest] {
        guard let entries = self.node.entries(node, "'preflight'") else { return [] }
        return entries.compactMap { entry in
            guard entry.key.wholeMatch(of: /[a-z][a-z0-9-]{0,30}/) != nil else {
                self.node.error(
                    at: entry.keyLocation,
                    "'\(Spelling.excerpt(entry.key))' is no name of a preflight",
                    remedy: "use at most 31 lower-case letters, digits and '-', beginning with a letter"
                )
                return nil
            }
            return self.preflight(entry)
        }
    }

    /// A list of words is the command.
    private mutating func preflight(_ entry: ManifestNode.Entry) -> PreflightManifest? {
        var preflight = PreflightManifest(name: Located(entry.key, entry.keyLocation), command: [], timeout: 30)
        var command: ManifestNode? = entry.value
        if case .mapping = entry.value.content {
            let label = "preflight '\(entry.key)'"
            guard let fields = self.node.fields(entry.value, of: label, keys: ManifestKey.preflight) else { return nil }
            command = fields["command"]?.value
            if let timeout = fields["timeout"].flatMap({ self.node.duration($0.value, "'timeout'") }) {
                preflight.timeout = timeout
            }
        }
        let remedy = "write \(entry.key): [program, argument], or {command: [program, argument], timeout: 30s}"
        guard let command else {
            self.node.error(at: entry.keyLocation, "preflight '\(entry.key)' has no 'command'", remedy: remedy)
            return nil
        }
        let words = self.node.texts(command, "the command of preflight '\(entry.key)'")
        if case .sequence(let items) = command.content, items.isEmpty {
            self.node.error(
                at: command.location,
                "the command of preflight '\(entry.key)' is empty",
                remedy: remedy
            )
        }
        preflight.command = words.map(\.value)
        return words.isEmpty ? nil : preflight
    }
}
