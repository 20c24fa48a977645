internal import OrderedCollections

/// The Service that clients know, or one like it that leads to the same frontends.
enum ClientsService {
    /// - Parameters:
    ///   - plan: whose public port it has.
    ///   - frontends: labels of the pods that it leads to.
    ///   - name: nil: the deployment's, which belongs to all generations, so that its own labels name none.
    /// - Returns: the Service; one with a name of its own is of the generation, and inside the cluster only.
    static func object(of plan: ClusterPlan, frontends: KeyedYAML, name: String? = nil) -> KubernetesObject {
        KubernetesObject(
            "v1",
            "Service",
            name: name ?? plan.deployment,
            namespace: plan.kubernetesNamespace,
            labels: name == nil ? KubernetesLabels.deployment(plan) : KubernetesLabels.generation(plan),
            [
                "spec": [
                    "type": .text(name == nil ? plan.settings.service.rawValue : "ClusterIP"),
                    "selector": .keyed(frontends),
                    "ports": [
                        ["name": "http", "port": .number(plan.publicPort), "targetPort": "http", "protocol": "TCP"]
                    ],
                ]
            ]
        )
    }
}
