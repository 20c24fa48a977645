internal import OrderedCollections

/// The ServiceAccounts of the pods, and what they may do.
enum PlainAccount {
    /// Dynamo's discovery through the API server needs rights; everybody else gets an account without a token.
    ///
    /// The rules are those that Dynamo's operator gives its pods (operator, `internal/discovery/resource.go`).
    static func ofGeneration(_ names: PlainNames) -> [KubernetesObject] {
        let name = names.account
        guard names.plan.discovery == .kubernetes else { return [self.account(name, names, names.labels)] }
        let read: YAMLValue = ["get", "list", "watch"]
        let rules: YAMLValue = [
            ["apiGroups": [""], "resources": ["endpoints", "pods"], "verbs": read],
            ["apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read],
            [
                "apiGroups": ["nvidia.com"], "resources": ["dynamoworkermetadatas"],
                "verbs": ["create", "get", "list", "watch", "update", "patch", "delete"],
            ],
        ]
        let reference: YAMLValue = [
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": .text(name),
        ]
        // Without a namespace it is that of the binding.
        var subject: KeyedYAML = ["kind": "ServiceAccount", "name": .text(name)]
        subject["namespace"] = names.plan.kubernetesNamespace.map(YAMLValue.text)
        return [
            self.account(name, names, names.labels),
            names.object("rbac.authorization.k8s.io/v1", "Role", name: name, ["rules": rules]),
            names.object(
                "rbac.authorization.k8s.io/v1",
                "RoleBinding",
                name: name,
                ["roleRef": reference, "subjects": [.keyed(subject)]]
            ),
        ]
    }

    /// For NATS and etcd, which ask the API server nothing.
    static func ofServers(_ names: PlainNames) -> KubernetesObject {
        self.account(names.server("infrastructure"), names, names.serverLabels(component: nil))
    }

    /// Pods that need a token say so themselves.
    private static func account(_ name: String, _ names: PlainNames, _ labels: KeyedYAML) -> KubernetesObject {
        names.object("v1", "ServiceAccount", name: name, labels: labels, ["automountServiceAccountToken": false])
    }
}
