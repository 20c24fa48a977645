internal import OrderedCollections

/// The PodDisruptionBudget of a process with several pods: whoever empties nodes takes one at a time.
///
/// A single pod has none: it would keep its node from ever being emptied.
enum PlainDisruptionBudget {
    static func object(_ process: ClusterProcess, _ names: PlainNames) -> KubernetesObject? {
        guard PlainDeployment.mayHaveSeveral(process) else { return nil }
        return names.object(
            "policy/v1",
            "PodDisruptionBudget",
            name: names.process(process),
            labels: names.labels(of: process),
            [
                "spec": [
                    "maxUnavailable": 1, "selector": ["matchLabels": .keyed(names.pods.of(process))],
                    // A pod that serves nothing keeps nobody waiting.
                    "unhealthyPodEvictionPolicy": "AlwaysAllow",
                ]
            ]
        )
    }
}
