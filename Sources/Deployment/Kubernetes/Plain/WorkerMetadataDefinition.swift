internal import OrderedCollections

/// The custom resource in which Dynamo's processes write what they serve when they find each other through the API server.
///
/// Facts: the runtime's `discovery/kube/crd.rs` (group, version, kind, plural; `spec.data` is any object) and the operator's type of
/// the same name (namespaced, short name `dwm`, an empty status). A cluster with Dynamo's operator has it already.
enum WorkerMetadataDefinition {
    static func objects(_ plan: ClusterPlan) -> [KubernetesObject] {
        guard plan.discovery == .kubernetes, plan.settings.createsDefinition else { return [] }
        let schema: YAMLValue = [
            "type": "object",
            "properties": [
                "apiVersion": ["type": "string"],
                "kind": ["type": "string"],
                "metadata": ["type": "object"],
                "spec": [
                    "type": "object",
                    "required": ["data"],
                    "properties": ["data": ["type": "object", "x-kubernetes-preserve-unknown-fields": true]],
                ],
                "status": ["type": "object"],
            ],
        ]
        let version: YAMLValue = [
            "name": "v1alpha1", "served": true, "storage": true,
            "schema": ["openAPIV3Schema": schema],
            "additionalPrinterColumns": [
                ["name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"]
            ],
        ]
        return [
            KubernetesObject(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                name: "dynamoworkermetadatas.nvidia.com",
                labels: ["app.kubernetes.io/managed-by": "dynamo-launch"],
                [
                    "spec": [
                        "group": "nvidia.com",
                        "scope": "Namespaced",
                        "names": [
                            "kind": "DynamoWorkerMetadata", "listKind": "DynamoWorkerMetadataList",
                            "plural": "dynamoworkermetadatas", "singular": "dynamoworkermetadata",
                            "shortNames": ["dwm"],
                        ],
                        "versions": [version],
                    ]
                ]
            )
        ]
    }
}
