import OrderedCollections
import Testing

@testable import Deployment

/// The plan of this machine, the operator's resource and the plain objects say the same of every process, but for what the fidelity
/// report says.
@Suite
struct FlavorAgreementTests {
    /// One manifest in its three forms.
    struct Forms {
        let plan: ClusterPlan
        let graph: YAMLValue
        /// The graph and what is beside it.
        let graphObjects: [KubernetesObject]
        let objects: [KubernetesObject]
        let reports: [FidelityReport.Target: FidelityReport]

        init(_ name: String) throws {
            let cluster = try ClusterCase(launch: name)
            self.plan = try cluster.plan()
            self.graphObjects = try OperatorObjects.objects(of: self.plan)
            self.graph = try #require(self.graphObjects.first { $0.kind == "DynamoGraphDeployment" }).yaml
            self.objects = PlainObjects.objects(of: self.plan)
            let manifest = try cluster.manifest.manifest()
            self.reports = [
                .operator: FidelityReport(manifest, for: .operator), .plain: FidelityReport(manifest, for: .plain),
            ]
        }

        /// Whether a form's report says that a key is not kept.
        func isExcused(_ keys: String..., of target: FidelityReport.Target) -> Bool {
            let entries = self.reports[target]?.entries ?? []
            return keys.contains { key in
                entries.contains { $0.status != .kept && ($0.key.hasPrefix(key) || $0.key.contains(".\(key)")) }
            }
        }

        func container(_ process: ClusterProcess, _ target: FidelityReport.Target) throws -> YAMLValue {
            switch target {
            case .operator:
                if let services = self.graph.at("spec", "services") {
                    return try #require(services.at(process.name, "extraPodSpec", "mainContainer"))
                }
                return try #require(self.component(process).at("podTemplate", "spec", "containers", "0"))
            default:
                return try #require(self.deployment(process).at("spec", "template", "spec", "containers", "0"))
            }
        }

        func component(_ process: ClusterProcess) throws -> YAMLValue {
            try #require(self.graph.at("spec", "components")?.items.first { $0.at("name") == .text(process.name) })
        }

        func deployment(_ process: ClusterProcess) throws -> YAMLValue {
            let name = "\(self.plan.name)-\(process.name)"
            return try #require(self.objects.first { $0.kind == "Deployment" && $0.name == name }).yaml
        }

        /// What the program sees, with what the operator adds.
        func environment(_ process: ClusterProcess, _ target: FidelityReport.Target) throws -> [String: String] {
            let own = try self.container(process, target).at("env")?.variableTexts ?? [:]
            guard target == .operator else {
                let map = try #require(self.objects.first { $0.kind == "ConfigMap" }).yaml
                guard case .keyed(let data)? = map.at("data") else { return own }
                let shared = Dictionary(uniqueKeysWithValues: data.map { ($0.key, $0.value.text ?? "") })
                return shared.merging(own) { $1 }
            }
            var added = ["DYN_NAMESPACE": self.plan.namespace]
            if self.graph.at("metadata", "annotations", "nvidia.com/dynamo-discovery-backend") == nil {
                added["DYN_DISCOVERY_BACKEND"] = "kubernetes"
                for name in ["POD_NAME", "POD_NAMESPACE", "POD_UID"] { added[name] = "of the pod" }
            }
            switch process.role {
            case .frontend: added["DYN_HTTP_PORT"] = "8000"
            case .worker: added["DYN_SYSTEM_PORT"] = "9090"
            default: break
            }
            let shared = try #require(self.graph.at("spec", "env")).variableTexts
            return added.merging(shared) { $1 }.merging(own) { $1 }
        }
    }

    @Test(arguments: ClusterCase.launch.filter { $0 != "mocker/relay" })
    func bothFormsSayTheSame(name: String) throws {
        let forms = try Forms(name)
        #expect(!forms.plan.processes.isEmpty)
        for kind in ["NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler", "HTTPRoute"] {
            // Ports of several numbers are several rules in one form.
            func purposes(_ objects: [KubernetesObject]) -> [String: [Set<String>]] {
                let pairs = objects.filter { $0.kind == kind }.map { object in
                    (
                        object.name,
                        ["ingress", "egress"].map { direction in
                            let text = object.annotations["dynamo-launch/\(direction)"]?.text ?? ""
                            return Set(text.split(separator: ", ").map(String.init))
                        }
                    )
                }
                return Dictionary(pairs) { first, _ in first }
            }
            #expect(purposes(forms.graphObjects) == purposes(forms.objects), "\(name): \(kind)")
        }
        for process in forms.plan.processes {
            let what: Comment = "\(name): \(process.name)"
            let graph = try forms.container(process, .operator)
            let plain = try forms.container(process, .plain)
            for key in ["image", "command", "args", "workingDir", "securityContext", "lifecycle"] {
                #expect(graph.at(key) == plain.at(key), "\(what): \(key)")
            }
            #expect(graph.at("resources", "limits") == plain.at("resources", "limits"), what)
            #expect(
                try forms.component(process).at("replicas") == forms.deployment(process).at("spec", "replicas"),
                what
            )
            for probe in ["livenessProbe", "readinessProbe"] {
                for time in ["periodSeconds", "failureThreshold"] {
                    #expect(graph.at(probe, time) == plain.at(probe, time), "\(what): \(probe) \(time)")
                    #expect(graph.at(probe, time) != nil, "\(what): \(probe) \(time)")
                }
            }
            // Programs are run less often than requests are made; the time until a start has failed is the same.
            let budget = Int(process.timing.startupTimeout?.rounded(.up) ?? 0)
            #expect((budget..<budget + 5).contains(Self.budget(graph) ?? -1), what)
            #expect((budget..<budget + 5).contains(Self.budget(plain) ?? -1), what)
            let grace = "terminationGracePeriodSeconds"
            #expect(
                try forms.component(process).at("podTemplate", "spec", grace)
                    == forms.deployment(process).at("spec", "template", "spec", grace),
                what
            )
            try self.compareEnvironments(forms, process)
            try self.comparePorts(forms, process)
        }
    }

    private static func budget(_ container: YAMLValue) -> Int? {
        guard case .number(let period)? = container.at("startupProbe", "periodSeconds"),
            case .number(let failures)? = container.at("startupProbe", "failureThreshold")
        else { return nil }
        return period * failures
    }

    private func compareEnvironments(_ forms: Forms, _ process: ClusterProcess) throws {
        var graph = try forms.environment(process, .operator)
        var plain = try forms.environment(process, .plain)
        // References to fields of the pod, which the operator makes.
        for name in ["POD_NAME", "POD_NAMESPACE", "POD_UID"] {
            #expect((graph[name] == nil) == (plain[name] == nil), "\(process.name): \(name)")
            graph[name] = nil
            plain[name] = nil
        }
        for name in Set(graph.keys).union(plain.keys) where graph[name] != plain[name] {
            let isExcused =
                switch name {
                case "DYN_NAMESPACE": forms.isExcused("namespace", of: .operator)
                case "DYN_SYSTEM_PORT", "DYN_HTTP_PORT":
                    forms.isExcused("processes.\(process.process).ports", "ports", of: .operator)
                default: false
                }
            #expect(isExcused, "\(process.name): \(name) is \(graph[name] ?? "-") and \(plain[name] ?? "-")")
        }
    }

    private func comparePorts(_ forms: Forms, _ process: ClusterProcess) throws {
        func numbers(_ container: YAMLValue) -> [String: YAMLValue] {
            Dictionary(
                uniqueKeysWithValues: (container.at("ports")?.items ?? []).map {
                    ($0.at("name")?.text ?? "", $0.at("containerPort") ?? 0)
                }
            )
        }
        let graph = numbers(try forms.container(process, .operator))
        let plain = numbers(try forms.container(process, .plain))
        // Frontends and workers have the ports that the operator gives them, under its names.
        guard process.role == .frontend || process.role == .worker else {
            #expect(graph == plain, "\(process.name)")
            return
        }
        #expect(graph.isEmpty, "\(process.name)")
        let (name, number): (String, YAMLValue) = process.role == .frontend ? ("http", 8000) : ("system", 9090)
        #expect(plain[name] != nil, "\(process.name)")
        if plain[name] != number {
            #expect(
                forms.isExcused("processes.\(process.process).ports", "ports", of: .operator),
                "\(process.name): \(name)"
            )
        }
    }

    @Test(arguments: ClusterCase.launch)
    func whatRunsOnThisMachineRunsInPods(name: String) throws {
        let forms = try Forms(name)
        let local = forms.plan.local
        for replica in local.replicas where replica.process != "nats" && replica.process != "etcd" {
            let process = try #require(
                forms.plan.processes.first {
                    $0.process == replica.process && ($0.index == nil || $0.index == replica.index)
                }
            )
            let what: Comment = "\(name): \(replica.name)"
            #expect(process.role == replica.role, what)
            #expect(
                replica.executable.split(separator: "/").last == process.command.first?.split(separator: "/").last,
                what
            )
            let ports = Dictionary(replica.ports.map { (String($0.port), $0.name) }) { first, _ in first }
            let numbers = Dictionary(process.ports.map { ($0.name, String($0.number)) }) { first, _ in first }
            /// A text of this machine as it is in a pod: with the pod's ports.
            func moved(_ text: String) -> String {
                var text = text
                for (number, name) in ports { text = text.replacing(number, with: numbers[name] ?? number) }
                return text
            }
            let key = "processes.\(process.process).ports"
            #expect(replica.arguments.count == process.arguments.count, what)
            for (mine, theirs) in zip(replica.arguments, process.arguments) where mine != theirs {
                #expect(
                    moved(mine) == theirs && forms.isExcused(key, "ports", of: .plain),
                    "\(what): \(mine), \(theirs)"
                )
            }
            #expect(Set(replica.ports.map(\.name)).isSubset(of: process.ports.map(\.name)), what)
            #expect(replica.gpus.isEmpty || replica.gpus.count == process.gpus, what)
            let servers = ["nats", "etcd"]
            #expect(
                replica.dependencies.filter { !servers.contains($0.process) }
                    == process.dependencies.filter { !servers.contains($0.process) },
                what
            )
            #expect(replica.readiness.map(\.layer) == process.readiness.map(\.layer), what)
            #expect(replica.timing == process.timing && replica.stop == process.stop, what)
            try self.compare(replica, process, forms, moved)
        }
        for process in forms.plan.processes {
            let replicas = local.replicas.count { $0.process == process.process }
            #expect(
                process.index == nil ? process.replicas == replicas : process.replicas == 1,
                "\(name): \(process.name)"
            )
        }
    }

    /// Every variable that the plan decides is in the pods too, or the report says why it is another one.
    private func compare(
        _ replica: ReplicaPlan,
        _ process: ClusterProcess,
        _ forms: Forms,
        _ moved: (String) -> String
    ) throws {
        let pod = try forms.environment(process, .plain)
        for variable in replica.environment where variable.source != .inherited {
            if variable.secret {
                #expect(pod[variable.name]?.contains("secretKeyRef") == true, "\(replica.name): \(variable.name)")
                continue
            }
            guard pod[variable.name] != variable.value else { continue }
            let isExcused =
                switch variable.name {
                case "DYN_DISCOVERY_BACKEND", "DYN_FILE_KV", "DYN_STORE_KV", "ETCD_ENDPOINTS":
                    forms.isExcused("discovery", of: .plain)
                case "CUDA_VISIBLE_DEVICES", "ZE_AFFINITY_MASK":
                    pod[variable.name] == nil && process.gpus == replica.gpus.count
                case "DYN_HTTP_HOST", "DYN_HTTP_PORT", "DYN_SYSTEM_PORT":
                    forms.isExcused("ports", "gateway", "http", of: .plain)
                case "NATS_SERVER": forms.plan.nats?.isManaged ?? false
                default:
                    pod[variable.name] == moved(variable.value) && forms.isExcused("ports", of: .plain)
                        || variable.name.hasSuffix("_PORT") && forms.isExcused("ports", of: .plain)
                }
            #expect(
                isExcused,
                "\(replica.name): \(variable.name) is \(variable.value) and \(pod[variable.name] ?? "-")"
            )
        }
    }
}
