internal import OrderedCollections

/// The objects of a deployment that Dynamo's operator runs.
package enum OperatorObjects {
    /// The annotation by which a graph leaves the API server alone.
    static let discoveryAnnotation = "nvidia.com/dynamo-discovery-backend"
    static let kind = "DynamoGraphDeployment"

    /// The first release whose operator has `nvidia.com/v1beta1`.
    private static let betaSince = DynamoRelease(1, 2, 0)

    /// The version of the resource for a plan.
    package static func apiVersion(for plan: ClusterPlan) -> String {
        plan.release.map { $0 < Self.betaSince } ?? false ? "nvidia.com/v1alpha1" : "nvidia.com/v1beta1"
    }

    /// What is to be applied.
    ///
    /// - Parameter plan: of the manifest.
    /// - Returns: the objects, in the order in which a cluster should get them.
    /// - Throws: `ManifestErrors` with what the operator cannot run.
    package static func objects(of plan: ClusterPlan) throws(ManifestErrors) -> [KubernetesObject] {
        let diagnostics = OperatorLimits(plan).diagnostics
        guard diagnostics.isEmpty else { throw ManifestErrors(diagnostics) }
        return self.shared(of: plan) + [self.service(of: plan)] + ClientsRoute.objects(of: plan)
            + self.generation(of: plan)
    }

    /// What all generations have in common: the namespace, and the servers of the planes that the deployment brings along.
    ///
    /// The resources that discovery needs come with the operator.
    package static func shared(of plan: ClusterPlan) -> [KubernetesObject] {
        PlainObjects.shared(of: plan).filter { $0.kind != "CustomResourceDefinition" }
    }

    /// What belongs to this generation alone: the graph, what admits connections of its pods, what scales it, and what keeps nodes from
    /// being emptied too fast.
    package static func generation(of plan: ClusterPlan) -> [KubernetesObject] {
        let names = PlainNames(self.withOperatorsPorts(plan), pods: .graph(plan))
        // The graph hands the number of replicas to an adapter, and the autoscaler sets it there.
        let adapter = (version: Self.apiVersion(for: plan), kind: "DynamoGraphDeploymentScalingAdapter")
        // No pod is open for a moment.
        return PlainNetworkPolicies.ofGeneration(names, PlaneConnections(names.plan, isOfOperator: true))
            + [OperatorGraph(plan).object]
            + plan.processes.compactMap { PlainAutoscaler.object($0, names, target: adapter) }
            + plan.processes.compactMap { PlainDisruptionBudget.object($0, names) }
    }

    /// The plan with the ports at which the operator's pods listen, whatever the manifest says.
    private static func withOperatorsPorts(_ plan: ClusterPlan) -> ClusterPlan {
        var changed = plan
        for (index, process) in plan.processes.enumerated() {
            let component = OperatorComponent(process: process, plan: plan)
            for (place, port) in process.ports.enumerated() {
                guard let number = component.operatorPort(port.purpose) else { continue }
                changed.processes[index].ports[place].number = number
            }
        }
        return changed
    }

    /// The Service that clients know, under the deployment's own name: it leads to the frontends of this generation.
    package static func service(of plan: ClusterPlan) -> KubernetesObject {
        ClientsService.object(of: plan, frontends: PodSelectors.graph(plan).frontends)
    }
}
