// What the top level and the processes have in common: variables.

extension NodeDecoder {
    /// The variables under an `env` key.
    mutating func environmentEntries(
        _ node: ManifestNode,
        _ what: String,
        names: [String],
        hasModel: Bool
    ) -> [EnvironmentEntry] {
        guard let entries = self.entries(node, what) else { return [] }
        return entries.compactMap { entry in
            guard self.checked(variable: entry.key, at: entry.keyLocation) else { return nil }
            if case .null = entry.value.content {
                self.error(
                    at: entry.keyLocation,
                    "the variable '\(entry.key)' has no value",
                    remedy: "write \"\" for an empty value, or name it under 'unset' to remove it"
                )
                return nil
            }
            let label = "the variable '\(entry.key)'"
            guard let value = self.processTemplate(entry.value, label, names: names, hasModel: hasModel) else {
                return nil
            }
            return EnvironmentEntry(
                name: Located(entry.key, entry.keyLocation),
                value: value.value,
                location: value.location
            )
        }
    }

    /// A list of variables' names.
    mutating func variableNames(_ node: ManifestNode, _ what: String) -> [Located<String>] {
        self.texts(node, what).filter { self.checked(variable: $0.value, at: $0.location) }
    }

    /// A template that may use `{{model}}` only if the manifest names a model.
    mutating func processTemplate(
        _ node: ManifestNode,
        _ what: String,
        names: [String],
        hasModel: Bool
    ) -> Located<Template>? {
        guard let template = self.template(node, what, names: names) else { return nil }
        if !hasModel, template.value.names.contains("model") {
            self.error(
                at: template.location,
                "'{{model}}' has no value: the manifest names no model",
                remedy: "add 'model: NAME' to the manifest"
            )
            return nil
        }
        return template
    }

    mutating func checked(variable: String, at location: Location) -> Bool {
        let fits = variable.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) != nil
        if !fits {
            self.error(
                at: location,
                "'\(Spelling.excerpt(variable))' is no variable's name",
                remedy: "use letters, digits and '_', beginning with a letter or '_'"
            )
        }
        return fits
    }
}

extension ManifestDecoder {
    mutating func environmentEntries(
        _ node: ManifestNode,
        _ what: String,
        names: [String],
        hasModel: Bool
    ) -> [EnvironmentEntry] {
        self.node.environmentEntries(node, what, names: names, hasModel: hasModel)
    }

    mutating func variableNames(_ node: ManifestNode, _ what: String) -> [Located<String>] {
        self.node.variableNames(node, what)
    }
}
