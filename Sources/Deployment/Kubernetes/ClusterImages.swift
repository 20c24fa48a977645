/// The images of containers that a manifest says nothing about.
enum ClusterImages {
    /// Of the servers that the deployment brings along; `kubernetes.images` says others.
    static let nats = "nats:2.12-alpine"
    static let etcd = "quay.io/coreos/etcd:v3.6.5"

    /// Of this package's programs, and of a pod in which the launcher runs everything.
    static func launcher(_ version: String) -> String { "dynamo-launch:\(version)" }

    /// The image of Dynamo's engines, which has its frontend, router and mocker too.
    ///
    /// - Parameters:
    ///   - modules: of all processes: a frontend takes the image of the engine beside it.
    ///   - release: the tag.
    /// - Returns: as Dynamo publishes it.
    static func dynamo(_ modules: [String], release: DynamoRelease) -> String {
        let engines = ["vllm": "vllm-runtime", "sglang": "sglang-runtime", "trtllm": "tensorrtllm-runtime"]
        let engine = modules.lazy.compactMap { engines[DynamoModules.component(of: $0)] }.first
        return "nvcr.io/nvidia/ai-dynamo/\(engine ?? "vllm-runtime"):\(release)"
    }
}
