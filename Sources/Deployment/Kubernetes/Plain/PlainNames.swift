internal import OrderedCollections

/// What the objects of a plan are called, and how they find each other.
struct PlainNames: Sendable {
    let plan: ClusterPlan
    let pods: PodSelectors

    /// - Parameters:
    ///   - plan: of the generation.
    ///   - pods: how its pods are selected; nil: by the labels of our own objects.
    init(_ plan: ClusterPlan, pods: PodSelectors? = nil) {
        self.plan = plan
        self.pods = pods ?? .plain(plan)
    }

    /// Of the objects of a process.
    func process(_ process: ClusterProcess) -> String { "\(self.plan.name)-\(process.name)" }

    /// Of the ConfigMap with what all processes share.
    var planes: String { "\(self.plan.name)-planes" }

    /// Of the ServiceAccount of the generation's pods.
    var account: String { self.plan.name }

    /// Of a server that all generations use.
    func server(_ component: String) -> String { "\(self.plan.deployment)-\(component)" }

    /// An object that belongs to the generation.
    func object(
        _ apiVersion: String,
        _ kind: String,
        name: String,
        labels: KeyedYAML? = nil,
        annotations: KeyedYAML = [:],
        _ fields: KeyedYAML
    ) -> KubernetesObject {
        KubernetesObject(
            apiVersion,
            kind,
            name: name,
            namespace: self.plan.kubernetesNamespace,
            labels: labels ?? self.labels,
            annotations: annotations,
            fields
        )
    }

    // MARK: Labels

    /// Of an object of the generation that belongs to no process.
    var labels: KeyedYAML { KubernetesLabels.generation(self.plan) }

    func labels(of process: ClusterProcess) -> KeyedYAML { KubernetesLabels.process(process, of: self.plan) }

    /// Of what all generations share.
    func serverLabels(component: String?) -> KeyedYAML {
        var labels = KubernetesLabels.deployment(self.plan)
        labels[KubernetesLabels.component] = component.map(YAMLValue.text)
        return labels
    }

    // MARK: Selectors

    /// A label that only the pods of servers have that all generations share.
    static let shared = "dynamo-launch/shared"

    /// The pods of such a server, and not those of a process of the manifest that happens to have the same name.
    func serverSelector(component: String) -> KeyedYAML {
        [
            KubernetesLabels.instance: .text(self.plan.deployment), KubernetesLabels.component: .text(component),
            Self.shared: "true",
        ]
    }
}
