internal import OrderedCollections

/// The Services of processes whose pods somebody looks for.
enum PlainServices {
    /// A Service without an address of its own: its name stands for the addresses of the pods that are ready.
    ///
    /// The planes need none, because processes tell each other addresses through discovery. Discovery through the API server does: a
    /// pod counts only once it is ready in an EndpointSlice with these labels, which it has from the Service (runtime,
    /// `discovery/kube/daemon.rs`). And processes that depend on others wait until the name stands for enough of them.
    static func ofPods(_ process: ClusterProcess, _ names: PlainNames) -> KubernetesObject? {
        guard !process.ports.isEmpty else { return nil }
        var labels = names.labels(of: process)
        // A program of somebody else's may well run Dynamo's runtime.
        if names.plan.discovery == .kubernetes, process.role != .infrastructure {
            labels["nvidia.com/dynamo-discovery-backend"] = "kubernetes"
            labels["nvidia.com/dynamo-discovery-enabled"] = "true"
        }
        let ports = process.ports.map { port -> YAMLValue in
            ["name": .text(port.name), "port": .number(port.number), "targetPort": .text(port.name), "protocol": "TCP"]
        }
        return names.object(
            "v1",
            "Service",
            name: names.process(process),
            labels: labels,
            [
                "spec": [
                    "clusterIP": "None", "selector": .keyed(names.pods.of(process)), "ports": .list(ports),
                ]
            ]
        )
    }
}
