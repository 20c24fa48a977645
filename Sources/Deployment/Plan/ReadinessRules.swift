/// Which layers a replica passes, and which probes decide them.
enum ReadinessRules {
    /// The layers of a process, lowest first, as far as they do not depend on the machine.
    static func layers(of process: ProcessManifest) -> [ReadinessLayer] {
        var layers = Set(self.defaultLayers(of: process))
        for probe in process.probes {
            if probe.question == .none {
                layers.remove(probe.layer)
            } else {
                layers.insert(probe.layer)
            }
        }
        layers.insert(.alive)
        return layers.sorted()
    }

    /// The layer of `target` that `process` waits for.
    static func layer(
        of target: ProcessManifest,
        for process: ProcessManifest,
        _ dependency: DependencyManifest?
    ) -> ReadinessLayer {
        if let layer = dependency?.layer?.value { return layer }
        let top = self.layers(of: target).last ?? .alive
        // A frontend's upper layers need workers, which may be what is waiting here.
        return target.role == .frontend && process.role != .infrastructure ? min(top, .health) : top
    }

    private static func defaultLayers(of process: ProcessManifest) -> [ReadinessLayer] {
        let hasSystemPort = process.ports.contains { $0.name.value == "system" }
        switch process.role {
        case .frontend: return ReadinessLayer.allCases
        case .worker where process.hasSystemServer || hasSystemPort, .router where hasSystemPort:
            return [.alive, .port, .live, .health]
        case .worker, .router, .infrastructure: return [.alive]
        }
    }

    /// The probe that decides a layer unless the manifest says otherwise.
    static func probe(
        for layer: ReadinessLayer,
        of process: ProcessManifest,
        address: HTTPAddress,
        model: String?,
        canary: CanaryRequest
    ) -> Probe {
        let base = address.localURL
        switch layer {
        case .alive: return .process
        case .port: return .tcp(host: self.host(of: address), port: address.port)
        case .live:
            // A real mocker answers 503 for ever, from the same handler as /health.
            let statuses = process.role == .frontend ? [200] : [200, 503]
            return .http(url: "\(base)/live", statuses: statuses, bodyContains: nil)
        case .health:
            return process.role == .frontend
                ? .http(url: "\(base)/health", statuses: [200], bodyContains: nil)
                : .systemHealth(url: "\(base)/health")
        case .modelListed: return .modelListed(baseURL: base, model: model)
        case .modelReady: return .modelReady(baseURL: base, model: model)
        case .serving: return .generate(baseURL: base, model: model, canary: canary)
        }
    }

    /// Where a client on this machine connects to.
    private static func host(of address: HTTPAddress) -> String {
        let url = address.localURL.dropFirst("http://".count)
        let host = url.prefix(upTo: url.lastIndex(of: ":") ?? url.endIndex)
        return host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : String(host)
    }
}
