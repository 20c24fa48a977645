internal import OrderedCollections

/// The Namespace, where the manifest wants it made.
enum PlainNamespace {
    static func objects(_ names: PlainNames) -> [KubernetesObject] {
        guard names.plan.settings.createsNamespace, let name = names.plan.kubernetesNamespace else { return [] }
        // The pods keep to the restricted standard, but for what an engine's image may need (a root file system that is written to),
        // which that standard does not forbid.
        let labels: KeyedYAML = [
            "app.kubernetes.io/managed-by": "dynamo-launch", "pod-security.kubernetes.io/enforce": "restricted",
        ]
        return [KubernetesObject("v1", "Namespace", name: name, labels: labels)]
    }
}
