internal import OrderedCollections

/// The Deployment of a process.
enum PlainDeployment {
    static func object(_ process: ClusterProcess, _ names: PlainNames) -> KubernetesObject {
        var spec: KeyedYAML = [:]
        // What an autoscaler sets is nobody else's.
        if process.settings.autoscaling == nil { spec["replicas"] = .number(process.replicas) }
        spec["revisionHistoryLimit"] = 3
        spec["progressDeadlineSeconds"] = .number(self.deadline(names.plan))
        spec["strategy"] = self.strategy(process)
        spec["selector"] = ["matchLabels": .keyed(names.pods.of(process))]
        spec["template"] = [
            "metadata": [
                "labels": .keyed(names.labels(of: process)), "annotations": .keyed(self.annotations(process, names)),
            ],
            "spec": .keyed(PlainPod.spec(process, names)),
        ]
        return names.object(
            "apps/v1",
            "Deployment",
            name: names.process(process),
            labels: names.labels(of: process),
            ["spec": .keyed(spec)]
        )
    }

    /// Whether there can be more than one pod.
    static func mayHaveSeveral(_ process: ClusterProcess) -> Bool {
        max(process.replicas, process.settings.autoscaling?.maximum ?? 0) > 1
    }

    /// A pod more at first, so that there are never fewer; but not where it would wait for a GPU that only the old pod can free.
    private static func strategy(_ process: ClusterProcess) -> YAMLValue {
        let hasGPUs = process.gpus > 0
        return [
            "type": "RollingUpdate",
            "rollingUpdate": ["maxSurge": hasGPUs ? 0 : 1, "maxUnavailable": hasGPUs ? 1 : 0],
        ]
    }

    /// Seconds after which a Deployment says that it does not get on: longer than the slowest start, since a frontend is available only
    /// once a worker's model is ready, and images have to come.
    private static func deadline(_ plan: ClusterPlan) -> Int {
        // The largest number means never.
        let never = Int(Int32.max)
        var longest = plan.migration.startTimeout ?? 0
        for process in plan.processes {
            guard let limit = process.timing.startupTimeout else { return never }
            longest = max(longest, limit)
        }
        return min(PlainProbes.seconds(longest) + 600, never)
    }

    private static func annotations(_ process: ClusterProcess, _ names: PlainNames) -> KeyedYAML {
        var annotations: KeyedYAML = ["dynamo-launch/planes": .text(PlainConfigMap.digest(names.plan))]
        // Where a Prometheus that goes by these annotations finds metrics.
        let port = process.ports.first { $0.purpose == (process.role == .frontend ? .http : .system) }
        if let port {
            annotations["prometheus.io/scrape"] = "true"
            annotations["prometheus.io/port"] = .text(String(port.number))
            annotations["prometheus.io/path"] = "/metrics"
        }
        return annotations
    }
}
