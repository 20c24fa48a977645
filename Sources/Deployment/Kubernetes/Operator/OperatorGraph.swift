internal import OrderedCollections

/// A DynamoGraphDeployment.
struct OperatorGraph {
    let plan: ClusterPlan
    private let components: [OperatorComponent]

    init(_ plan: ClusterPlan) {
        self.plan = plan
        self.components = plan.processes.map { OperatorComponent(process: $0, plan: plan) }
    }

    var object: KubernetesObject {
        let version = OperatorObjects.apiVersion(for: self.plan)
        var annotations: KeyedYAML = [:]
        if case .etcd = self.plan.discovery { annotations[OperatorObjects.discoveryAnnotation] = "etcd" }
        return KubernetesObject(
            version,
            OperatorObjects.kind,
            name: self.plan.name,
            namespace: self.plan.kubernetesNamespace,
            labels: KubernetesLabels.generation(self.plan),
            annotations: annotations,
            ["spec": .keyed(version.hasSuffix("v1alpha1") ? self.alpha : self.beta)]
        )
    }

    /// nil: none of the three that the resource knows, or several.
    private var framework: YAMLValue? {
        let known = ["vllm", "sglang", "trtllm"]
        let engines = Set(
            self.plan.processes.compactMap { process -> String? in
                guard case .dynamo(let module) = process.program else { return nil }
                return DynamoModules.component(of: module)
            }
            .filter(known.contains)
        )
        return engines.count == 1 ? engines.first.map(YAMLValue.text) : nil
    }

    /// What all components get: the planes.
    ///
    /// The namespace is the operator's.
    private var environment: YAMLValue {
        .list(self.plan.shared.filter { !OperatorComponent.namespaceVariables.contains($0.name) }.map(\.yaml))
    }

    // MARK: v1beta1

    private var beta: KeyedYAML {
        var spec: KeyedYAML = [:]
        spec["backendFramework"] = self.framework
        spec["env"] = self.environment
        spec["components"] = .list(self.components.map { .keyed(self.beta($0)) })
        return spec
    }

    private func beta(_ component: OperatorComponent) -> KeyedYAML {
        let process = component.process
        var entry: KeyedYAML = ["name": .text(process.name)]
        entry["type"] = component.kind.map { .text($0.rawValue) }
        entry["runtimeVersionOverride"] = component.runtimeVersion.map(YAMLValue.text)
        entry["replicas"] = .number(process.replicas)
        entry["sharedMemorySize"] = .text(component.sharedMemory)
        if process.settings.autoscaling != nil { entry["scalingAdapter"] = .keyed([:]) }
        let probes = OperatorProbes(component)
        var container = component.container(probes)
        container["env"] = Self.list(component.environment)
        container["livenessProbe"] = probes.liveness
        container["readinessProbe"] = probes.readiness
        container["resources"] = PlainContainer.resources(
            requests: process.settings.requests,
            limits: PlainContainer.limits(of: process)
        )
        var spec = component.podSpec
        spec["containers"] = [.keyed(container)]
        entry["podTemplate"] = [
            "metadata": ["labels": .keyed(KubernetesLabels.process(process, of: self.plan))], "spec": .keyed(spec),
        ]
        return entry
    }

    private static func list(_ variables: [ClusterVariable]) -> YAMLValue? {
        variables.isEmpty ? nil : .list(variables.map(\.yaml))
    }

    // MARK: v1alpha1

    private var alpha: KeyedYAML {
        var spec: KeyedYAML = [:]
        spec["backendFramework"] = self.framework
        spec["envs"] = self.environment
        spec["services"] = .keyed(
            KeyedYAML(uniqueKeysWithValues: self.components.map { ($0.process.name, .keyed(self.alpha($0))) })
        )
        return spec
    }

    private func alpha(_ component: OperatorComponent) -> KeyedYAML {
        let process = component.process
        var entry: KeyedYAML = [:]
        switch component.kind {
        case .prefill?, .decode?:
            entry["componentType"] = "worker"
            entry["subComponentType"] = component.kind.map { .text($0.rawValue) }
        case let kind: entry["componentType"] = kind.map { .text($0.rawValue) }
        }
        entry["replicas"] = .number(process.replicas)
        entry["envs"] = Self.list(component.environment)
        let memory = component.sharedMemory
        entry["sharedMemory"] = memory == "0" ? ["disabled": true] : ["size": .text(memory)]
        if process.settings.autoscaling != nil { entry["scalingAdapter"] = ["enabled": true] }
        let (requests, limits) = (process.settings.requests, PlainContainer.limits(of: process))
        var resources: KeyedYAML = [:]
        if !requests.isEmpty { resources["requests"] = Self.alpha(requests, gpu: process.gpuResource) }
        if !limits.isEmpty { resources["limits"] = Self.alpha(limits, gpu: process.gpuResource) }
        if !resources.isEmpty { entry["resources"] = .keyed(resources) }
        let probes = OperatorProbes(component)
        entry["livenessProbe"] = probes.liveness
        entry["readinessProbe"] = probes.readiness
        entry["extraPodMetadata"] = ["labels": .keyed(KubernetesLabels.process(process, of: self.plan))]
        var spec = component.podSpec
        spec["mainContainer"] = .keyed(component.container(probes))
        entry["extraPodSpec"] = .keyed(spec)
        return entry
    }

    /// Resources in the words of `v1alpha1`, where all numbers are texts.
    private static func alpha(_ amounts: [String: String], gpu: String) -> YAMLValue {
        var item: KeyedYAML = [:]
        var custom: [String: String] = [:]
        for (resource, amount) in amounts.sorted(by: { $0.key < $1.key }) {
            switch resource {
            case "cpu", "memory": item[resource] = .text(amount)
            case gpu:
                item["gpu"] = .text(amount)
                if gpu != "nvidia.com/gpu" { item["gpuType"] = .text(gpu) }
            default: custom[resource] = amount
            }
        }
        if !custom.isEmpty { item["custom"] = .texts(custom) }
        return .keyed(item)
    }
}
