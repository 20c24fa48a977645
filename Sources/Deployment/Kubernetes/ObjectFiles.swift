/// Objects as files: one for each kind, numbered because `kubectl apply -f FOLDER` goes by names.
package struct ObjectFiles: Sendable, Hashable {
    package struct File: Sendable, Hashable {
        package var name: String
        package var text: String

        package init(name: String, text: String) {
            self.name = name
            self.text = text
        }
    }

    /// The first line of every file, by which a file of ours is known.
    package static let mark = "# Written by dynamo-launch generate k8s"
    package static let kustomization = "kustomization.yaml"

    package var files: [File]

    /// - Parameters:
    ///   - objects: in the order in which a cluster should get them.
    ///   - kustomize: whether a `kustomization.yaml` names the files.
    package init(_ objects: [KubernetesObject], kustomize: Bool) {
        var kinds: [String] = []
        var byKind: [String: [YAMLValue]] = [:]
        for object in objects {
            if byKind[object.kind] == nil { kinds.append(object.kind) }
            byKind[object.kind, default: []].append(object.yaml)
        }
        self.files = kinds.enumerated().map { index, kind in
            File(
                name: "\(index < 10 ? "0" : "")\(index)-\(Self.name(of: kind))",
                text: "\(Self.mark)\n\(YAMLValue.documents(byKind[kind] ?? []))"
            )
        }
        guard kustomize else { return }
        let kustomization: YAMLValue = [
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": .texts(self.files.map(\.name)),
        ]
        self.files.append(File(name: Self.kustomization, text: "\(Self.mark)\n\(kustomization.document)"))
    }

    /// `deployments.yaml` of `Deployment`, `networkpolicies.yaml` of `NetworkPolicy`.
    private static func name(of kind: String) -> String {
        let word = kind.lowercased()
        if word.hasSuffix("y") { return "\(word.dropLast())ies.yaml" }
        return word.hasSuffix("s") ? "\(word)es.yaml" : "\(word)s.yaml"
    }
}
