internal import OrderedCollections

/// The HTTPRoute by which a Gateway leads to the deployment.
enum ClientsRoute {
    /// It belongs to all generations, and leads to the clients' Service, whichever of them that leads to.
    ///
    /// - Parameters:
    ///   - plan: of the manifest.
    ///   - weights: of Services by their names; nil: everything goes to the clients' Service.
    /// - Returns: nothing without `kubernetes.route`.
    static func objects(of plan: ClusterPlan, weights: [(service: String, weight: Int)]? = nil) -> [KubernetesObject] {
        guard let route = plan.settings.route else { return [] }
        let backends = (weights ?? [(plan.deployment, 1)]).map { service, weight -> YAMLValue in
            ["name": .text(service), "port": .number(plan.publicPort), "weight": .number(weight)]
        }
        var parent: KeyedYAML = ["name": .text(route.gateway)]
        parent["namespace"] = route.gatewayNamespace.map(YAMLValue.text)
        var spec: KeyedYAML = ["parentRefs": [.keyed(parent)]]
        if !route.hostnames.isEmpty { spec["hostnames"] = .texts(route.hostnames) }
        spec["rules"] = [["backendRefs": .list(backends)]]
        return [
            KubernetesObject(
                "gateway.networking.k8s.io/v1",
                "HTTPRoute",
                name: plan.deployment,
                namespace: plan.kubernetesNamespace,
                labels: KubernetesLabels.deployment(plan),
                ["spec": .keyed(spec)]
            )
        ]
    }
}
