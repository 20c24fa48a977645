internal import OrderedCollections

/// One object for the API server.
package struct KubernetesObject: Sendable, Hashable {
    package var apiVersion: String
    package var kind: String
    package var name: String
    /// nil: that which `kubectl` is set to, or the object belongs to no namespace.
    package var namespace: String?
    package var labels: KeyedYAML
    package var annotations: KeyedYAML
    /// Everything beside `apiVersion`, `kind` and `metadata`.
    package var fields: KeyedYAML

    package init(
        _ apiVersion: String,
        _ kind: String,
        name: String,
        namespace: String? = nil,
        labels: KeyedYAML = [:],
        annotations: KeyedYAML = [:],
        _ fields: KeyedYAML = [:]
    ) {
        self.apiVersion = apiVersion
        self.kind = kind
        self.name = name
        self.namespace = namespace
        self.labels = labels
        self.annotations = annotations
        self.fields = fields
    }

    package var yaml: YAMLValue {
        var metadata: KeyedYAML = ["name": .text(self.name)]
        metadata["namespace"] = self.namespace.map(YAMLValue.text)
        if !self.labels.isEmpty { metadata["labels"] = .keyed(self.labels) }
        if !self.annotations.isEmpty { metadata["annotations"] = .keyed(self.annotations) }
        var whole: KeyedYAML = [
            "apiVersion": .text(self.apiVersion), "kind": .text(self.kind), "metadata": .keyed(metadata),
        ]
        for (key, value) in self.fields { whole[key] = value }
        return .keyed(whole)
    }
}
