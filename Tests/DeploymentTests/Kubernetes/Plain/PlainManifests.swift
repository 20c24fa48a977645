import OrderedCollections
import Testing

@testable import Deployment

/// Manifests as objects of the plain flavor.
enum PlainManifests {
    /// Two vLLM workers, of which one computes prompts.
    static let disaggregated = """
        name: chat
        model: Qwen/Qwen3-0.6B
        planes: {request: tcp, events: zmq}
        processes:
          frontend:
            module: dynamo.frontend
            replicas: 2
            args: [--router-mode, kv]
            stop: {grace: 20s}
          decode:
            module: dynamo.vllm
            replicas: 3
            gpus: 1
            args: [--model, "{{model}}", --disaggregation-mode, decode]
            env: {HF_TOKEN: "${HF_TOKEN}", GREETING: "$$(HOME) costs 5 $$"}
            timing: {startupTimeout: 20m}
          prefill:
            module: dynamo.vllm
            gpus: 1
            args: [--model, "{{model}}", --disaggregation-mode, prefill, --kv-transfer-config, "{}"]
            env: {VLLM_NIXL_SIDE_CHANNEL_PORT: 20097}
            dependsOn: [decode]
            stop: {grace: 30s}
        """

    /// Our own processes on NATS.
    static let embedded = """
        name: chat
        model: echo
        planes: {request: nats, events: none}
        infrastructure: {nats: {managed: true, jetstream: true}}
        processes:
          frontend: {builtin: frontend}
          worker: {builtin: worker, args: [--engine, echo], ports: {system: 9090}}
        """

    static func plan(
        _ text: String,
        release: DynamoRelease? = DynamoRelease(1, 6, 1),
        generation: Int = 1
    ) throws -> ClusterPlan {
        try ClusterPlannerTests.plan(
            text,
            release: release,
            generation: generation,
            environment: ["HF_TOKEN": "hunter2-hunter2"]
        )
    }

    static func objects(_ text: String, _ change: (inout ClusterPlan) -> Void = { _ in }) throws -> [KubernetesObject] {
        var plan = try self.plan(text)
        change(&plan)
        return PlainObjects.objects(of: plan)
    }

    static func process(_ name: String, of plan: inout ClusterPlan, _ change: (inout ClusterProcess) -> Void) {
        for index in plan.processes.indices where plan.processes[index].name == name { change(&plan.processes[index]) }
    }
}

extension [KubernetesObject] {
    func one(_ kind: String, _ name: String) throws -> YAMLPart {
        let object = try #require(
            self.first { $0.kind == kind && $0.name == name },
            "\(self.map { "\($0.kind) \($0.name)" })"
        )
        return YAMLPart(value: object.yaml)
    }

    func names(_ kind: String) -> [String] { self.filter { $0.kind == kind }.map(\.name) }

    /// The pod of a process.
    func pod(_ name: String) throws -> YAMLPart {
        try self.one("Deployment", name)["spec"]["template"]["spec"]
    }

    func container(_ name: String) throws -> YAMLPart { try self.pod(name)["containers"][0] }
}

/// A part of an object, in which tests look for others.
struct YAMLPart: Hashable {
    /// An empty list when there is nothing, which nothing that is looked for is.
    var value: YAMLValue

    subscript(key: String) -> YAMLPart {
        if case .keyed(let fields) = self.value { YAMLPart(value: fields[key] ?? []) } else { YAMLPart(value: []) }
    }

    subscript(index: Int) -> YAMLPart {
        self.items.indices.contains(index) ? self.items[index] : YAMLPart(value: [])
    }

    var items: [YAMLPart] {
        if case .list(let items) = self.value { items.map { YAMLPart(value: $0) } } else { [] }
    }

    var keys: [String] { if case .keyed(let fields) = self.value { Array(fields.keys) } else { [] } }

    /// The item of a list that has a name.
    func named(_ name: String) -> YAMLPart {
        self.items.first { $0["name"] == .text(name) } ?? YAMLPart(value: [])
    }

    /// `env` of a container as one mapping.
    var variables: [String: YAMLPart] {
        Dictionary(
            self["env"].items.compactMap { entry in
                guard case .text(let name) = entry["name"].value else { return nil }
                return (name, entry["value"] == [] ? entry["valueFrom"] : entry["value"])
            }
        ) { $1 }
    }

    static func == (part: YAMLPart, value: YAMLValue) -> Bool { part.value == value }
}

func == (part: YAMLPart?, value: YAMLValue) -> Bool { part?.value == value }
