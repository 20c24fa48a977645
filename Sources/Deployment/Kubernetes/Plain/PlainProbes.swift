internal import OrderedCollections

/// The kubelet's probes of a container, from the layers of the process.
///
/// - Startup: the highest layer that is the process's own, so that a model may take as long to load as the manifest says.
/// - Liveness: a lower layer, because what is slow is not dead.
/// - Readiness: the highest layer that costs no generation; a frontend has clients only once it lists the model.
struct PlainProbes: Sendable {
    /// What the kubelet does: `httpGet`, `tcpSocket` or `exec`, and its fields.
    private typealias Action = (key: String, value: YAMLValue)

    private let process: ClusterProcess

    init(_ process: ClusterProcess) { self.process = process }

    func add(to container: inout KeyedYAML) {
        let own = self.process.readiness.filter { $0.layer <= .health }
        // A layer that Kubernetes cannot ask about leaves the one below it.
        if let action = own.reversed().lazy.compactMap(self.action).first {
            container["startupProbe"] = self.probe(action, self.startup(runsProgram: action.key == "exec"))
        }
        if let action = self.process.readiness.reversed().lazy.filter(self.isCheap).compactMap(self.action).first {
            container["readinessProbe"] = self.probe(action, self.steady)
        }
        let live = own.filter { $0.layer <= .live }.reversed() + own.filter { $0.layer > .live }
        if let action = live.lazy.compactMap(self.action).first {
            container["livenessProbe"] = self.probe(action, self.steady)
        }
    }

    /// Seconds as Kubernetes counts them: whole ones, never fewer.
    static func seconds(_ seconds: Double) -> Int { Int(min(seconds.rounded(.up), Double(Int32.max))) }

    // MARK: Times

    /// A program of the image costs more than a request, and what takes minutes can be asked less often.
    func startup(runsProgram: Bool) -> KeyedYAML {
        let limit = self.process.timing.startupTimeout
        let period = runsProgram ? (limit ?? .infinity) > 120 ? 5 : 2 : 1
        // Kubernetes has no word for no limit; this is more than 60 years.
        let failures = limit.map { max(1, (Self.seconds($0) + period - 1) / period) } ?? Int(Int32.max)
        return ["periodSeconds": .number(period), "failureThreshold": .number(failures)]
    }

    var steady: KeyedYAML {
        [
            "periodSeconds": .number(max(1, Self.seconds(self.process.timing.steadyInterval))),
            "failureThreshold": .number(max(1, self.process.timing.failureThreshold)),
        ]
    }

    private func probe(_ action: Action, _ times: KeyedYAML) -> YAMLValue {
        let timeout = max(1, Self.seconds(self.process.timing.probeTimeout))
        var probe: KeyedYAML = [action.key: action.value]
        for (key, value) in times { probe[key] = value }
        // A program of the image has to start first, on a machine that may be busy.
        probe["timeoutSeconds"] = .number(action.key == "exec" ? max(timeout, 10) : timeout)
        return .keyed(probe)
    }

    // MARK: Actions

    /// The interpreter of the image; ours has none.
    private var python: String? {
        guard case .dynamo = self.process.program else { return nil }
        return self.process.command.first
    }

    private func isCheap(_ layer: LayerProbe) -> Bool {
        if case .generate = layer.probe { false } else { true }
    }

    private func action(_ layer: LayerProbe) -> Action? {
        switch layer.probe {
        case .process, .logLine, .generate, .requestPlane, .notify: return nil
        case .tcp(let host, let port): return self.connects(ServerAddress(host: host, port: port))
        case .natsPing(let url): return ServerAddress(url, port: 4222).map(self.connects)
        case .exec(let argv): return ("exec", ["command": .texts(argv.map(ContainerText.literal))])
        case .http(let url, let statuses, let contains):
            // The kubelet asks the node's name servers, which know no names of the cluster.
            let isOwn = ServerAddress(url, port: 80)?.isOfPod ?? true
            let isPlain = contains == nil && statuses.allSatisfy { (200..<400).contains($0) } && isOwn
            if !isPlain,
                let script = self.script(
                    .http,
                    [url, statuses.map(String.init).joined(separator: ","), contains ?? ""]
                )
            {
                return script
            }
            // Any answer will do where an error is one of those that are good.
            return statuses.contains { $0 >= 400 } ? self.connects(url) : self.get(url)
        case .systemHealth(let url): return self.script(.systemHealth, [url]) ?? self.get(url)
        case .modelListed(let base, let model):
            return self.script(.modelListed, [base, model ?? ""])
                ?? self.get(model.map { "\(base)/v1/models/\(Self.encoded($0))" } ?? "\(base)/v1/models")
        case .modelReady(let base, let model):
            return self.script(.modelReady, [base, model ?? ""])
                ?? self.get(model.map { "\(base)/v1/models/\(Self.encoded($0))/ready" } ?? "\(base)/v1/models")
        }
    }

    private func script(_ script: ProbeScript, _ arguments: [String]) -> Action? {
        self.python.map {
            ("exec", ["command": .texts(([$0, "-c", script.rawValue] + arguments).map(ContainerText.literal))])
        }
    }

    private func connects(_ address: ServerAddress) -> Action {
        ("tcpSocket", .keyed(self.target(address)))
    }

    private func connects(_ url: String) -> Action? { ServerAddress(url, port: 80).map(self.connects) }

    private func get(_ url: String) -> Action? {
        guard let address = ServerAddress(url, port: url.hasPrefix("https:") ? 443 : 80) else { return nil }
        let rest = url.firstRange(of: "://").map { url[$0.upperBound...] } ?? url[...]
        let path = rest.firstIndex(of: "/").map { String(rest[$0...]) } ?? "/"
        var request: KeyedYAML = ["path": .text(path)]
        for (key, value) in self.target(address) { request[key] = value }
        if url.hasPrefix("https:") { request["scheme"] = "HTTPS" }
        return ("httpGet", .keyed(request))
    }

    /// The pod itself, unless it is another host, whose ports have no names here.
    private func target(_ address: ServerAddress) -> KeyedYAML {
        address.isOfPod
            ? ["port": self.port(address.port)]
            : ["host": .text(address.host), "port": .number(address.port)]
    }

    /// By its name, where the container has one for it.
    private func port(_ number: Int) -> YAMLValue {
        self.process.ports.first { $0.number == number }.map { .text($0.name) } ?? .number(number)
    }

    /// One segment of a path: everything but unreserved characters is encoded, slashes too.
    private static func encoded(_ segment: String) -> String {
        var result = ""
        for byte in segment.utf8 {
            let scalar = Unicode.Scalar(byte)
            let isUnreserved = byte < 0x80 && (Character(scalar).isLetter || Character(scalar).isNumber)
            if isUnreserved || "-._~".unicodeScalars.contains(scalar) {
                result.unicodeScalars.append(scalar)
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                result += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return result
    }
}
