internal import OrderedCollections

/// The ConfigMap that gives all processes the same planes.
enum PlainConfigMap {
    static func object(_ names: PlainNames) -> KubernetesObject {
        names.object("v1", "ConfigMap", name: names.planes, ["data": .texts(self.texts(names.plan))])
    }

    /// Changes with the contents, so that pods whose template names it start again when they change.
    static func digest(_ plan: ClusterPlan) -> String {
        TextDigest.of(self.texts(plan).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)\n" }.joined())
    }

    /// Shared variables that are no plain text, such as secrets, which a container names itself.
    static func others(_ plan: ClusterPlan) -> [ClusterVariable] {
        plan.shared.filter { if case .text = $0.value { false } else { true } }
    }

    private static func texts(_ plan: ClusterPlan) -> [String: String] {
        var texts: [String: String] = [:]
        for variable in plan.shared {
            if case .text(let text) = variable.value { texts[variable.name] = text }
        }
        return texts
    }
}
