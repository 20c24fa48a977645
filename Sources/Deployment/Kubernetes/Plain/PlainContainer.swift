internal import OrderedCollections

/// The container of a process.
enum PlainContainer {
    /// Its name in every pod, as Dynamo's operator has it.
    static let name = "main"

    static func container(_ process: ClusterProcess, _ names: PlainNames) -> YAMLValue {
        var container: KeyedYAML = [
            "name": .text(self.name), "image": .text(process.image),
            "command": .texts(process.command.map(ContainerText.literal)),
        ]
        if !process.arguments.isEmpty { container["args"] = .texts(process.arguments.map(ContainerText.literal)) }
        container["workingDir"] = process.workingDirectory.map(YAMLValue.text)
        if process.role != .infrastructure {
            container["envFrom"] = [["configMapRef": ["name": .text(names.planes)]]]
        }
        let variables = self.variables(process, names.plan)
        if !variables.isEmpty { container["env"] = .list(variables.map(\.yaml)) }
        if !process.ports.isEmpty { container["ports"] = .list(process.ports.map(self.port)) }
        PlainProbes(process).add(to: &container)
        if let sleep = PlainDrain.sleep(of: process, names.plan) {
            container["lifecycle"] = ["preStop": ["sleep": ["seconds": .number(sleep)]]]
        }
        container["resources"] = self.resources(requests: process.settings.requests, limits: self.limits(of: process))
        container["securityContext"] = PlainSecurity.container(isRootWritable: PlainPod.isRootWritable(process))
        let mounts = PodVolumes(process).mounts
        if !mounts.isEmpty { container["volumeMounts"] = .list(mounts) }
        return .keyed(container)
    }

    static func port(_ port: ClusterPort) -> YAMLValue {
        ["name": .text(port.name), "containerPort": .number(port.number), "protocol": "TCP"]
    }

    // MARK: Environment

    /// All but what comes from the ConfigMap; a later variable of the same name replaces an earlier one.
    static func variables(_ process: ClusterProcess, _ plan: ClusterPlan) -> [ClusterVariable] {
        var variables: OrderedDictionary<String, ClusterVariable> = [:]
        func add(_ more: [ClusterVariable]) { for variable in more { variables[variable.name] = variable } }
        if process.role != .infrastructure {
            add(PlainConfigMap.others(plan))
            if plan.discovery == .kubernetes { add(self.identity) }
            add(PlainDrain.variables(of: process, plan))
        }
        add(process.environment)
        return Array(variables.values)
    }

    /// Who it is, which discovery through the API server needs (runtime, `discovery/kube/utils.rs`: the first and the last one must be there).
    private static let identity = [
        ClusterVariable(name: "POD_NAME", value: .field("metadata.name")),
        ClusterVariable(name: "POD_NAMESPACE", value: .field("metadata.namespace")),
        ClusterVariable(name: "POD_UID", value: .field("metadata.uid")),
    ]

    // MARK: Resources

    /// The manifest's limits, and the devices.
    static func limits(of process: ClusterProcess) -> [String: String] {
        var limits = process.settings.limits
        if process.gpus > 0 { limits[process.gpuResource] = String(process.gpus) }
        return limits
    }

    /// nil: nothing is said.
    static func resources(requests: [String: String], limits: [String: String]) -> YAMLValue? {
        var resources: KeyedYAML = [:]
        if !requests.isEmpty { resources["requests"] = .texts(requests) }
        if !limits.isEmpty { resources["limits"] = .texts(limits) }
        return resources.isEmpty ? nil : .keyed(resources)
    }
}
