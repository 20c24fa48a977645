/// One entry under `processes` of a manifest that is made from running processes.
struct AdoptedProcess: Sendable, Hashable {
    /// What replicas of one entry have in common.
    struct Key: Sendable, Hashable {
        var program: DynamoInvocation.Program
        var role: Role
        var python: String?
        var pythonOptions: [String]
        /// As they stand in the manifest.
        var arguments: [String]
        var environment: [String: String]
        var workingDirectory: String?
        var gpuCount: Int?
        /// Only when ports are kept: then everybody is alone.
        var systemPort: Int?
    }

    var key: Key
    var members: [FoundProcess]
    var name = ""

    /// The entry of the manifest.
    var entry: ManifestEntry {
        var entry = ManifestEntry(name: self.name, program: self.key.program, role: self.key.role)
        entry.python = self.key.python
        entry.pythonOptions = self.key.pythonOptions
        entry.arguments = self.key.arguments
        entry.replicas = self.members.count
        let gpus = self.members.compactMap { $0.gpus?.numbers }
        if self.key.gpuCount != nil, gpus.count == self.members.count {
            let lists = gpus.map { "[\($0.map(String.init).joined(separator: ", "))]" }
            entry.gpus = lists.count == 1 ? lists[0] : "[\(lists.joined(separator: ", "))]"
        }
        if let port = self.key.systemPort { entry.ports = [("system", String(port))] }
        entry.environment = self.key.environment
        entry.workingDirectory = self.key.workingDirectory
        return entry
    }
}

/// Variables of a running process that matter to what is started in its place.
enum AdoptedVariables {
    /// What their names begin with: Dynamo's own, its servers', and the engines'.
    private static let prefixes = [
        "DYN_", "NATS_", "ETCD_", "HF_", "CUDA_", "NVIDIA_", "VLLM_", "SGLANG_", "SGL_", "TRTLLM_", "TLLM_", "LMCACHE_",
        "NCCL_", "UCX_", "NIXL_", "OTEL_", "ZE_", "TORCH_", "PYTORCH_", "TRANSFORMERS_", "TOKENIZERS_", "FLASHINFER_",
        "PYTHON", "OMP_", "MKL_", "RUST_",
    ]
    private static let names: Set<String> = [
        "LD_LIBRARY_PATH", "LD_PRELOAD", "TMPDIR", "PROMETHEUS_MULTIPROC_DIR", "MODEL_EXPRESS_URL",
    ]
    /// Ports that the system chooses when nobody says them.
    static let freePorts: Set<String> = ["DYN_TCP_RPC_PORT", "DYN_TCP_RESPONSE_STREAM_PORT"]

    /// Whether a manifest has to say it, since the shell that calls `up` need not have it.
    static func matters(_ name: String, keepsPorts: Bool) -> Bool {
        if let owned = OwnedVariable(rawValue: name) {
            guard owned.isFree, owned != .systemEnabled else { return false }
            return keepsPorts || !self.freePorts.contains(name)
        }
        guard name != "PYTHONUNBUFFERED", !Device.allCases.contains(where: { $0.variable == name }) else {
            return false
        }
        return self.names.contains(name) || self.prefixes.contains { name.hasPrefix($0) }
    }
}
