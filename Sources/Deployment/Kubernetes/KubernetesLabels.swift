internal import OrderedCollections

/// The labels by which objects and pods of a deployment are found.
package enum KubernetesLabels {
    package static let instance = "app.kubernetes.io/instance"
    package static let component = "app.kubernetes.io/component"
    package static let generation = "dynamo-launch/generation"
    package static let role = "dynamo-launch/role"

    /// Of everything that belongs to a deployment, whatever the generation.
    package static func deployment(_ plan: ClusterPlan) -> KeyedYAML {
        [
            "app.kubernetes.io/name": "dynamo", self.instance: .text(plan.deployment),
            "app.kubernetes.io/managed-by": "dynamo-launch",
        ]
    }

    /// Of everything that belongs to one generation.
    package static func generation(_ plan: ClusterPlan) -> KeyedYAML {
        var labels = self.deployment(plan)
        labels[self.generation] = .text(String(plan.generation))
        return labels
    }

    /// Of the objects and pods of a process.
    package static func process(_ process: ClusterProcess, of plan: ClusterPlan) -> KeyedYAML {
        var labels = self.generation(plan)
        labels[self.component] = .text(process.name)
        labels[self.role] = .text(process.role.rawValue)
        return labels
    }
}

/// Labels by which the pods of a generation are selected.
struct PodSelectors: Sendable, Hashable {
    /// Of all its pods.
    let generation: KeyedYAML
    /// Of its frontends: what the clients' Service leads to.
    let frontends: KeyedYAML
    /// The label whose value is the name of the process.
    let process: String

    /// The pods of a process, and those of no other.
    func of(_ process: ClusterProcess) -> KeyedYAML {
        var selector = self.generation
        selector[self.process] = .text(process.name)
        return selector
    }

    private init(generation: KeyedYAML, process: String, frontends: (name: String, value: YAMLValue)) {
        self.generation = generation
        self.process = process
        var selector = generation
        selector[frontends.name] = frontends.value
        self.frontends = selector
    }

    /// Pods that have the labels of our own objects.
    static func plain(_ plan: ClusterPlan) -> Self {
        Self(
            generation: [
                KubernetesLabels.instance: .text(plan.deployment),
                KubernetesLabels.generation: .text(String(plan.generation)),
            ],
            process: KubernetesLabels.component,
            frontends: (KubernetesLabels.role, .text(Role.frontend.rawValue))
        )
    }

    /// Pods of a DynamoGraphDeployment, by the labels that Dynamo's operator gives all of them, whatever the version of the resource and
    /// whether a Deployment or Grove runs them.
    ///
    /// Facts: ai-dynamo/dynamo, `deploy/operator`: `internal/consts/consts.go`; for Deployments `generatePodTemplateSpec` of
    /// `internal/controller` (1.x and main) and `GetDCDKubeLabels`; for Grove `generateLabels` of `internal/dynamo/graph.go`. Those of the
    /// component's type differ between the versions of the resource for prefill and decode workers, but not for frontends.
    static func graph(_ plan: ClusterPlan) -> Self {
        Self(
            generation: ["nvidia.com/dynamo-graph-deployment-name": .text(plan.name)],
            process: "nvidia.com/dynamo-component",
            frontends: ("nvidia.com/dynamo-component-type", "frontend")
        )
    }
}
