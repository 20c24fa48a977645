/// What has to be done once, so that a launcher runs what other means have started.
package struct AdoptionAdvice: Sendable {
    package let lines: [String]
    /// The commands among them that end what runs, in order.
    package let stopCommands: [String]

    /// - Parameters:
    ///   - deployment: what was found.
    ///   - manifest: what would run in its place.
    ///   - options: how the manifest was made.
    ///   - file: where the manifest is, or would be.
    package init(
        _ deployment: FoundDeployment,
        _ manifest: AdoptedManifest,
        _ options: AdoptedManifest.Options,
        file: String
    ) {
        let stops = Self.stops(deployment)
        self.stopCommands = stops
        var lines = ["What has to be done once:"]
        for frontend in deployment.frontends {
            guard let port = frontend.httpPort else { continue }
            let isOpen = frontend.process.listeners.contains { $0.port == port }
            lines.append(
                isOpen
                    ? "  \(frontend.words) has port \(port) itself: the gateway can open it only when that process has ended"
                    : "  \(frontend.words) has not opened its port \(port)"
            )
        }
        let parents = Set(deployment.processes.compactMap(\.startedBy)).sorted()
        for parent in parents {
            lines.append("  \(parent) has started processes of it: it must not start them again")
        }
        lines.append("  1. stop these processes, once:")
        lines += stops.map { "       \($0)" }
        let pids = deployment.processes.map { String($0.pid) }.joined(separator: " ")
        lines += [
            "     and wait until they are gone:", "       for pid in \(pids); do tail --pid=$pid -f /dev/null; done",
            "  2. start the same with the launcher:", "       dynamo-launch up \(file)",
            "  Clients are refused from the end of the old frontends until 'up' opens the port; then their requests wait until it serves.",
            "  From then on 'migrate', 'apply' and 'restart' lose no request.",
        ]
        lines += Self.beside(deployment, manifest, options, file: file)
        self.lines = lines
    }

    private static func stops(_ deployment: FoundDeployment) -> [String] {
        var commands: [String] = []
        var pids: [String] = []
        for process in deployment.processes {
            guard let unit = process.process.unit else {
                pids.append(String(process.pid))
                continue
            }
            let command = "systemctl \(unit.isUser ? "--user " : "")stop \(unit.name)"
            if !commands.contains(command) { commands.append(command) }
        }
        return commands + (pids.isEmpty ? [] : ["kill \(pids.joined(separator: " "))"])
    }

    /// How to do it without a gap, or why that cannot be.
    private static func beside(
        _ deployment: FoundDeployment,
        _ manifest: AdoptedManifest,
        _ options: AdoptedManifest.Options,
        file: String
    ) -> [String] {
        guard let first = deployment.processes.first else { return [] }
        let backend = first.discovery.backend.value
        if backend == "etcd", let frontend = deployment.unboundedFrontends.first {
            return [
                "  Both cannot run side by side: \(frontend.words) takes the workers of every namespace in \(deployment.discoveryWords),",
                "  also those of the launcher.",
            ]
        }
        guard backend == "etcd" || backend == "file" else { return [] }
        if options.keepsPorts {
            return ["  Both cannot run side by side: with --keep-ports they would have the same ports."]
        }
        let ports = Set(deployment.processes.flatMap { $0.process.listeners.map(\.port) })
            .union(deployment.frontends.compactMap(\.httpPort))
        let other = (manifest.port + 1...65535).first { !ports.contains($0) } ?? 0
        var command = "dynamo-launch up \(file) --set http.port=\(other)"
        if let namespace = deployment.namespace { command += " --set namespace=\(namespace)-beside" }
        return [
            "  Without a gap, where there is room for both and clients can be sent to another port (by a load balancer):",
            "       \(command)",
            "  then, when 'dynamo-launch status --wait \(manifest.name)' has returned, send clients there, and stop the old processes.",
        ]
    }
}
