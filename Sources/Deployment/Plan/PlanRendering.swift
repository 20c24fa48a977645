extension Plan {
    /// The plan for people: what is started in which order, with argv, environment, ports and readiness.
    ///
    /// Without secrets.
    ///
    /// - Parameter showsInherited: Whether variables that are only passed on are listed too.
    /// - Returns: Lines, the last one ended.
    package func rendered(showsInherited: Bool = false) -> String {
        var lines: [String] = []
        lines.append("deployment \(self.deployment)" + (self.manifestPath.map { " (\($0))" } ?? " (embedded)"))
        lines.append(
            "  planes      request \(self.planes.request.rawValue), events \(self.planes.events.rawValue), response \(self.planes.response.rawValue)"
        )
        lines.append("  namespace   \(self.namespace)")
        lines.append("  discovery   \(self.discovery.rendered)")
        if let release = self.release { lines.append("  dynamo      \(release)") }
        lines.append(
            "  public      \(self.publicAddress.host):\(self.publicAddress.port) (\(self.publicURL))"
        )
        for (label, text) in self.gateway?.rendered ?? [] {
            lines.append("  " + label + String(repeating: " ", count: 12 - label.count) + text)
        }
        lines.append("  model       \(self.model ?? "the first that the frontend lists")")
        for (label, text) in self.migration.rendered {
            lines.append("  " + label + String(repeating: " ", count: 12 - label.count) + text)
        }
        if self.survive {
            lines.append("  survive     processes go on without the launcher; the next 'up' adopts them")
        }
        lines.append("  state       \(self.directories.state)")
        lines.append("  runtime     \(self.directories.runtime)")
        for service in self.externalServices {
            lines.append(
                "  external    \(service.name) at \(service.maskedURL): \(service.probe.rendered)"
            )
        }
        for note in self.notes { lines.append("  note        \(note)") }
        for (position, replica) in self.masked.replicas.enumerated() {
            lines.append("")
            lines += replica.rendered(
                position: position + 1,
                showsInherited: showsInherited,
                sharesGPUs: self.gpuSharing == .shared
            )
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The same plan with every secret value replaced by `***`, to be shown or written.
    package var masked: Plan {
        var plan = self
        plan.replicas = self.replicas.map(\.masked)
        // Values of preflights may be secret.
        plan.given = nil
        return plan
    }
}

extension ReplicaPlan {
    /// The same replica with every secret value replaced by `***`, to be shown or written; not to be run.
    package var masked: ReplicaPlan {
        var replica = self
        let secrets = Set(self.environment.filter(\.secret).map(\.value)).sorted { ($0.count, $0) > ($1.count, $1) }
        func masked(_ arguments: [String]) -> [String] {
            Secrets.masking(arguments: arguments.map { Secrets.masking($0, values: secrets) })
        }
        replica.arguments = masked(self.arguments)
        replica.environment = self.environment.map { variable in
            var variable = variable
            variable.value =
                variable.secret
                ? Secrets.mask : Secrets.maskingCredential(Secrets.masking(variable.value, values: secrets))
            return variable
        }
        replica.readiness = self.readiness.map { layer in
            guard case .exec(let argv) = layer.probe else { return layer }
            return LayerProbe(layer: layer.layer, probe: .exec(argv: masked(argv)))
        }
        return replica
    }

    /// argv as one line that a shell would take.
    package var commandLine: String {
        ([self.executable] + self.arguments).map(ShellText.quoted).joined(separator: " ")
    }

    fileprivate func rendered(position: Int, showsInherited: Bool, sharesGPUs: Bool) -> [String] {
        var lines = ["\(position). \(self.name) (\(self.role.rawValue))"]
        func add(_ label: String, _ text: String) {
            lines.append("   " + label + String(repeating: " ", count: max(1, 10 - label.count)) + text)
        }
        if !self.dependencies.isEmpty {
            add("after", self.dependencies.map { "\($0.process) is \($0.layer.rawValue)" }.joined(separator: ", "))
        }
        add("run", self.commandLine)
        add("in", self.workingDirectory)
        for variable in self.environment where showsInherited || variable.source != .inherited {
            add("set", "\(variable.name)=\(ShellText.quoted(variable.value)) (\(variable.source.rawValue))")
        }
        for variable in self.unset { add("unset", "\(variable.name) (\(variable.reason))") }
        let inherited = self.environment.count { $0.source == .inherited }
        if inherited > 0, !showsInherited {
            add("inherits", "\(inherited) variable\(inherited == 1 ? "" : "s") of the caller")
        }
        for port in self.ports { add("port", "\(port.name) \(port.port)\(port.leased ? " (leased)" : "")") }
        for listen in self.listens {
            add("passed", "\(listen.name) \(listen.address.host):\(listen.address.port), opened by the launcher")
        }
        if !self.gpus.isEmpty { add("gpus", self.gpus.joined(separator: ", ") + (sharesGPUs ? " (shared)" : "")) }
        if let events = self.kvEvents { add("kv events", events.rendered) }
        if let limits = self.limits { add("limits", limits.rendered) }
        for layer in self.readiness { add("ready", "\(layer.layer.rawValue): \(layer.probe.rendered)") }
        add("probes", self.timing.rendered)
        add("restart", self.restart.rendered)
        add("stop", "\(self.stop.signalName), killed after \(Seconds.rendered(self.stop.grace))")
        return lines
    }
}

extension DiscoveryPlan {
    /// Without secrets.
    var rendered: String {
        switch self {
        case .file(let directory): "file, \(directory)"
        case .etcd(let endpoints): "etcd, \(endpoints.map { Secrets.masking(url: $0) }.joined(separator: ", "))"
        case .memory: "mem"
        }
    }
}

extension Probe {
    /// One line for people.
    package var rendered: String {
        switch self {
        case .process: return "the process runs"
        case .tcp(let host, let port): return "\(host.contains(":") ? "[\(host)]" : host):\(port) accepts connections"
        case .http(let url, let statuses, let text):
            let wanted = statuses.isEmpty ? "2xx" : statuses.map(String.init).joined(separator: " or ")
            return "GET \(url) answers \(wanted)" + (text.map { ", body contains \(ShellText.quoted($0))" } ?? "")
        case .exec(let argv): return "\(argv.map(ShellText.quoted).joined(separator: " ")) ends with 0"
        case .logLine(let pattern): return "a log line matches /\(pattern)/"
        case .natsPing(let url): return "\(Secrets.masking(url: url)) answers PING"
        case .systemHealth(let url): return "GET \(url) names endpoints, all ready"
        case .modelListed(let base, let model): return "\(base)/v1/models lists \(model ?? "a model")"
        case .modelReady(let base, let model): return "\(base)/v1/models/\(model ?? "{model}")/ready answers 2xx"
        case .generate(let base, let model, let canary):
            return
                "one token of \(model ?? "the model") by \(canary.endpoint.rawValue) from \(base) within \(Seconds.rendered(canary.timeout))"
        case .requestPlane(let component, let endpoint):
            return "every instance of \(component).\(endpoint) answers on the request plane"
        case .notify: return "it says READY=1 to its NOTIFY_SOCKET"
        }
    }
}

extension GatewayPlan {
    /// ``idleExit`` as people write it: `30m`.
    package var idleExitText: String? { self.idleExit.map(Seconds.rendered) }

    /// What it is about, and what is said about that.
    var rendered: [(label: String, text: String)] {
        let hold =
            self.hold.requests == 0
            ? "refuses while no frontend is ready"
            : "holds up to \(self.hold.requests) requests (\(self.hold.bytes) bytes) for \(Seconds.rendered(self.hold.time)) while no frontend is ready"
        let timeouts = [
            "header \(Seconds.rendered(self.timeouts.header))", "body \(Seconds.rendered(self.timeouts.body))",
            "idle \(Seconds.rendered(self.timeouts.idle))", "write \(Seconds.rendered(self.timeouts.write))",
        ]
        var lines = [
            (label: "gateway", text: hold),
            (
                "limits",
                "headers up to \(self.headerLimit) bytes, bodies up to \(self.bodyLimit) bytes, \(self.connections) connections"
            ),
            ("timeouts", timeouts.joined(separator: ", ")),
        ]
        if let tls = self.tls { lines.append(("tls", "certificate \(tls.certificate), key \(tls.key)")) }
        for listener in self.listeners { lines.append(("listener", listener.rendered)) }
        if let metrics = self.metrics { lines.append(("metrics", "\(metrics.localURL)/metrics")) }
        if let idle = self.idleExitText {
            lines.append(("idle", "ends after \(idle) without a request, when systemd holds the socket"))
        }
        return lines
    }
}

extension GatewayPlan.Listener {
    fileprivate var rendered: String {
        switch self {
        case .address(let address, let tls):
            let host = address.host.contains(":") ? "[\(address.host)]" : address.host
            return "\(host):\(address.port)\(tls ? " (TLS)" : "")"
        case .unix(let path, let mode): return "unix:\(path), mode \(mode)"
        }
    }
}

extension ProbeTiming {
    fileprivate var rendered: String {
        let limit = self.startupTimeout.map { "within \(Seconds.rendered($0))" } ?? "without limit"
        return
            "every \(Seconds.rendered(self.startupInterval)) until ready (\(limit)), then every \(Seconds.rendered(self.steadyInterval)); "
            + "\(self.failureThreshold) failures in a row count, one lasts at most \(Seconds.rendered(self.probeTimeout))"
    }
}

extension RestartPolicy {
    fileprivate var rendered: String {
        guard self.condition != .never else { return "never" }
        let limit = self.maximumRestarts.map { "gives up after \($0)" } ?? "never gives up"
        return
            "\(self.condition.rawValue), after \(Seconds.rendered(self.initialDelay)) doubling to \(Seconds.rendered(self.maximumDelay)), "
            + "\(limit), stable after \(Seconds.rendered(self.stableAfter))"
    }
}

/// Seconds as people write them.
package enum Seconds {
    package static func rendered(_ seconds: Double) -> String {
        if seconds > 0, seconds < 1 { return "\(self.trimmed(seconds * 1000))ms" }
        if seconds >= 3600, seconds.truncatingRemainder(dividingBy: 3600) == 0 {
            return "\(self.trimmed(seconds / 3600))h"
        }
        if seconds >= 60, seconds.truncatingRemainder(dividingBy: 60) == 0 { return "\(self.trimmed(seconds / 60))m" }
        return "\(self.trimmed(seconds))s"
    }

    private static func trimmed(_ number: Double) -> String {
        let rounded = (number * 1000).rounded() / 1000
        return rounded == rounded.rounded() && abs(rounded) < 1e15 ? String(Int(rounded)) : String(rounded)
    }
}

/// Words for a shell.
enum ShellText {
    /// The word as a shell would read it back.
    static func quoted(_ word: String) -> String {
        let isPlain = word.unicodeScalars.allSatisfy {
            ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0)
                || "-_./:=@%+,".unicodeScalars.contains($0)
        }
        if isPlain, !word.isEmpty { return word }
        return "'" + word.replacing("'", with: "'\\''") + "'"
    }
}
