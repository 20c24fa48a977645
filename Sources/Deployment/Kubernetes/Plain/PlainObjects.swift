/// A generation as objects of Kubernetes itself, without any operator.
package enum PlainObjects {
    /// Everything, in the order in which it is to be applied.
    ///
    /// The clients' Service leads to this generation: whoever applies it switches clients over.
    package static func objects(of plan: ClusterPlan) -> [KubernetesObject] {
        Self.shared(of: plan) + [Self.service(of: plan)] + ClientsRoute.objects(of: plan) + Self.generation(of: plan)
    }

    /// What all generations of the deployment have in common and no later one may take away: the namespace, what discovery needs
    /// of the cluster, and the servers of the planes.
    package static func shared(of plan: ClusterPlan) -> [KubernetesObject] {
        let names = PlainNames(plan)
        let servers = [PlainServer.nats(of: names), PlainServer.etcd(of: names)].compactMap { $0 }
        return PlainNamespace.objects(names) + WorkerMetadataDefinition.objects(plan)
            + (servers.isEmpty ? [] : [PlainAccount.ofServers(names)])
            + servers.flatMap { $0.objects(names) }
    }

    /// The Service that clients know, under the deployment's own name: it leads to the frontends of this generation.
    package static func service(of plan: ClusterPlan) -> KubernetesObject {
        ClientsService.object(of: plan, frontends: PodSelectors.plain(plan).frontends)
    }

    /// What belongs to this generation alone.
    package static func generation(of plan: ClusterPlan) -> [KubernetesObject] {
        let names = PlainNames(plan)
        var objects = PlainAccount.ofGeneration(names)
        objects.append(PlainConfigMap.object(names))
        objects += plan.processes.compactMap { PlainServices.ofPods($0, names) }
        // No pod is open for a moment.
        objects += PlainNetworkPolicies.ofGeneration(names, PlaneConnections(plan))
        objects += plan.processes.map { PlainDeployment.object($0, names) }
        objects += plan.processes.compactMap { PlainAutoscaler.object($0, names) }
        objects += plan.processes.compactMap { PlainDisruptionBudget.object($0, names) }
        return objects
    }
}
