/// What is known about Dynamo's Python modules.
enum DynamoModules {
    /// The role of the modules whose role is fixed.
    static func role(of module: String) -> Role? {
        let parts = module.split(separator: ".")
        guard parts.count >= 2, parts[0] == "dynamo" else { return nil }
        switch parts[1] {
        case "frontend": return .frontend
        case "router", "global_router": return .router
        case "vllm", "sglang", "trtllm", "mocker", "llama_cpp": return .worker
        default: return nil
        }
    }

    /// The module whose name is nearly this one; nil: there is none, or it is known.
    static func nearest(to module: String) -> String? {
        guard self.role(of: module) == nil, module.hasPrefix("dynamo.") else { return nil }
        let known = ["frontend", "router", "global_router", "vllm", "sglang", "trtllm", "mocker", "llama_cpp"]
        return Spelling.nearest(to: self.component(of: module), among: known).map { "dynamo.\($0)" }
    }

    /// `vllm` of `dynamo.vllm.unified_main`.
    static func component(of module: String) -> String {
        let parts = module.split(separator: ".")
        return parts.count >= 2 ? String(parts[1]) : module
    }

    /// Whether it loads a model into devices before it serves, which takes minutes.
    static func loadsModel(_ module: String) -> Bool {
        ["vllm", "sglang", "trtllm", "llama_cpp"].contains(self.component(of: module))
    }
}

/// Rules about port numbers.
enum PortRules {
    /// Dynamo reads `DYN_SYSTEM_PORT` as a 16-bit number with a sign.
    static let systemLimit = 32767
    /// What may be leased for any port; below the range from which the system picks ports for outgoing connections.
    static let leased = 1024...systemLimit
}
