/// What a process's flags and variables say about connections beside the planes.
extension ClusterProcess {
    /// Whether several pods of it may run, which know each other.
    var isPeered: Bool { PlainDeployment.mayHaveSeveral(self) }

    func numbers(_ purpose: ClusterPort.Purpose) -> [Connection.Ports] {
        self.ports.filter { $0.purpose == purpose }.map { Connection.Ports($0.number) }
    }

    /// Whether an argument or a variable of it has the name of a host, alone or in front of a domain.
    func isTold(host: String) -> Bool {
        var texts = self.command + self.arguments
        for case .text(let text) in self.environment.map(\.value) { texts.append(text) }
        func isPart(_ character: Character?) -> Bool {
            character.map { $0.isASCII && ($0.isLetter || $0.isNumber) || $0 == "-" || $0 == "_" } ?? false
        }
        return texts.contains { text in
            text.ranges(of: host).contains { range in
                let before = text[..<range.lowerBound].last
                return !isPart(before) && before != "." && !isPart(text[range.upperBound...].first)
            }
        }
    }

    private func text(_ variable: String) -> String? {
        guard let variable = self.environment.last(where: { $0.name == variable }) else { return nil }
        if case .text(let text) = variable.value { return text }
        return variable.shownURL
    }

    /// The value of a flag, `--flag value` or `--flag=value`.
    private func value(of flag: String) -> String? {
        let words = self.command + self.arguments
        for (index, word) in words.enumerated() {
            if word == flag { return words[safe: index + 1] }
            if word.hasPrefix("\(flag)=") { return String(word.dropFirst(flag.count + 1)) }
        }
        return nil
    }

    /// Whether it is a worker that asks other workers: of several that share the work on an image, the first.
    var callsWorkers: Bool {
        guard case .dynamo = self.program, self.role == .worker else { return false }
        return (self.command + self.arguments).contains { word in
            word == "--route-to-encoder"
                || word.hasPrefix("--multimodal-") && word != "--multimodal-worker"
                    && word != "--multimodal-decode-worker"
        }
    }

    /// Whether its engine gets KV blocks from others, or gives them.
    var transfersBlocks: Bool {
        guard case .dynamo(let module) = self.program, DynamoModules.loadsModel(module) else { return false }
        if let mode = self.value(of: "--disaggregation-mode"), mode != "agg", mode != "aggregated" { return true }
        if ["--is-prefill-worker", "--is-decode-worker"].contains(where: self.arguments.contains) { return true }
        return self.value(of: "--kv-transfer-config").map { $0.contains("Nixl") } ?? false
    }

    /// Where engines arrange such a transfer; the transfer itself takes any port.
    var transferPorts: [Int] {
        guard case .dynamo(let module) = self.program else { return [] }
        switch DynamoModules.component(of: module) {
        // vLLM's NIXL connector: 5600 unless told otherwise.
        case "vllm": return [self.text("VLLM_NIXL_SIDE_CHANNEL_PORT").flatMap(Int.init) ?? 5600]
        // SGLang's bootstrap server: 8998 unless told otherwise.
        case "sglang": return [self.value(of: "--disaggregation-bootstrap-port").flatMap(Int.init) ?? 8998]
        default: return []
        }
    }

    /// Whether it looks for a model's files on a hub, as Dynamo's processes do for a model that is no folder.
    func readsHub(_ plan: ClusterPlan) -> Bool {
        guard case .dynamo = self.program else { return false }
        let isOffline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].contains { name in
            let shared = plan.shared.contains { $0.name == name && $0.value == .text("1") }
            return shared || self.text(name).map { ["1", "true", "yes", "on"].contains($0.lowercased()) } ?? false
        }
        guard !isOffline else { return false }
        let paths = ["--model-path", "--model"].compactMap(self.value)
        let models = paths.isEmpty ? [plan.model].compactMap { $0 } : paths
        // A frontend finds out from a worker's card, and must get the files itself when they are no folder of its own.
        return models.isEmpty || models.contains { !$0.hasPrefix("/") }
    }

    /// The ports at which it finds the hub: of the address that it is told, and of the proxy in between.
    var hubPorts: [Int] {
        var ports: [Int] = []
        for name in ["HF_ENDPOINT", "HTTPS_PROXY", "https_proxy"] {
            guard let url = self.text(name), !url.isEmpty else { continue }
            let usual = name != "HF_ENDPOINT" || url.hasPrefix("http:") ? 80 : 443
            if let address = ServerAddress(url, port: usual), !ports.contains(address.port) {
                ports.append(address.port)
            }
        }
        return ports.contains(443) || self.text("HF_ENDPOINT") != nil ? ports : [443] + ports
    }

    /// Where it sends traces and metrics.
    var telemetry: [ServerAddress] {
        var addresses: [ServerAddress] = []
        func add(_ text: String?) {
            guard let text, let address = ServerAddress(text, port: 4317), !address.isLoopback else { return }
            if !addresses.contains(address) { addresses.append(address) }
        }
        for variable in self.environment
        where variable.name.hasPrefix("OTEL_EXPORTER_OTLP_") && variable.name.hasSuffix("ENDPOINT") {
            add(self.text(variable.name))
        }
        add(self.value(of: "--otlp-traces-endpoint"))
        return addresses
    }
}
