internal import OrderedCollections

/// What a pod of a process is made of.
enum PlainPod {
    /// The user of Dynamo's images and of ours; a number, because the kubelet cannot tell whether a name is root.
    static let user = 1000

    static func spec(_ process: ClusterProcess, _ names: PlainNames) -> KeyedYAML {
        let plan = names.plan
        var pod: KeyedYAML = [
            "serviceAccountName": .text(names.account),
            "automountServiceAccountToken": .boolean(self.needsToken(process, plan)),
            // Else each Service of the namespace becomes variables, some with names that programs read.
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": .number(PlainDrain.termination(of: process, plan)),
            "securityContext": PlainSecurity.pod(user: self.user),
        ]
        PlainSecurity.addPullSecrets(plan.settings, to: &pod)
        self.addPlaces(process, names, to: &pod)
        if let wait = PlainWait.container(process, names) { pod["initContainers"] = [wait] }
        pod["containers"] = [PlainContainer.container(process, names)]
        let volumes = PodVolumes(process).volumes
        if !volumes.isEmpty { pod["volumes"] = .list(volumes) }
        return pod
    }

    private static func needsToken(_ process: ClusterProcess, _ plan: ClusterPlan) -> Bool {
        plan.discovery == .kubernetes && process.role != .infrastructure
    }

    /// On which nodes it may be.
    private static func addPlaces(_ process: ClusterProcess, _ names: PlainNames, to pod: inout KeyedYAML) {
        let settings = process.settings
        if !settings.nodeSelector.isEmpty { pod["nodeSelector"] = .texts(settings.nodeSelector) }
        if !settings.tolerations.isEmpty { pod["tolerations"] = .list(settings.tolerations.map(\.yaml)) }
        guard PlainDeployment.mayHaveSeveral(process) else { return }
        // Better badly spread than not at all.
        pod["topologySpreadConstraints"] = .list(
            ["kubernetes.io/hostname", "topology.kubernetes.io/zone"].map { key in
                [
                    "maxSkew": 1, "topologyKey": .text(key), "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": ["matchLabels": .keyed(names.pods.of(process))],
                ]
            }
        )
    }

    /// Whether the container may write anywhere; engines compile kernels and fill caches in many places, ours write nothing.
    static func isRootWritable(_ process: ClusterProcess) -> Bool {
        process.settings.writableRoot ?? (process.program != .ours)
    }
}
