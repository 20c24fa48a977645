internal import OrderedCollections

/// The HorizontalPodAutoscaler of a process whose manifest asks for one.
enum PlainAutoscaler {
    /// - Parameters:
    ///   - process: what is scaled.
    ///   - names: of its objects.
    ///   - target: version and kind of the object that has the number of replicas.
    /// - Returns: nil when the manifest asks for none.
    static func object(
        _ process: ClusterProcess,
        _ names: PlainNames,
        target: (version: String, kind: String) = ("apps/v1", "Deployment")
    ) -> KubernetesObject? {
        guard let autoscaling = process.settings.autoscaling else { return nil }
        let metric: YAMLValue = [
            "type": "Resource",
            "resource": [
                "name": "cpu", "target": ["type": "Utilization", "averageUtilization": .number(autoscaling.cpu)],
            ],
        ]
        return names.object(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            name: names.process(process),
            labels: names.labels(of: process),
            [
                "spec": [
                    "scaleTargetRef": [
                        "apiVersion": .text(target.version), "kind": .text(target.kind),
                        "name": .text(names.process(process)),
                    ],
                    "minReplicas": .number(autoscaling.minimum),
                    "maxReplicas": .number(autoscaling.maximum),
                    "metrics": [metric],
                    // Each pod that goes loses its cache, and takes its drain.
                    "behavior": [
                        "scaleDown": [
                            "stabilizationWindowSeconds": 300,
                            "policies": [["type": "Pods", "value": 1, "periodSeconds": 60]],
                        ]
                    ],
                ]
            ]
        )
    }
}
