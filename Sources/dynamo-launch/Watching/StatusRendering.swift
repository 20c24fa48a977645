import Deployment
import Supervisor

/// `status` for people: one line for the deployment and a table of its replicas.
enum StatusRendering {
    static func text(_ status: DeploymentStatus) -> String {
        var lines = [self.headline(status)]
        if let failure = status.failure { lines.append("failure: \(failure)") }
        lines += status.silentServices.map(\.words)
        lines += status.warnings.map { "warning: \($0)" }
        lines.append(
            "planes: request \(status.planes.request.rawValue), events \(status.planes.events.rawValue), "
                + "response \(status.planes.response.rawValue); namespace: \(status.namespace); url: \(status.url)"
                + (status.model.map { "; model: \($0)" } ?? "")
        )
        lines.append("")
        lines += self.table(
            self.rows(status.replicas)
        )
        let relayed = status.replicas.filter { $0.kvEvents != nil }
        if !relayed.isEmpty {
            lines.append("")
            lines += self.table(
                [["KV EVENTS OF", "STATE", "FOR", "BLOCKS", "EVENTS", "PUBLISHED", "GAPS", "LOSSES", "NOTE"]]
                    + relayed.compactMap { replica in replica.kvEvents.map { self.row($0, of: replica.name) } }
            )
        }
        if let migration = status.migration {
            lines += ["", MigrationWords.summary(migration, MigrationHints(deployment: status.deployment))]
        }
        if var gateway = status.gateway {
            // Those of generations that are gone are of interest in JSON and metrics only.
            gateway.backends.removeAll { !$0.isReady && $0.generation != status.generation }
            lines += [""] + self.lines(gateway)
        }
        return lines.joined(separator: "\n")
    }

    private static func lines(_ gateway: GatewayReport) -> [String] {
        let line =
            "gateway\(gateway.pid.map { " (pid \($0))" } ?? ""): \(gateway.connections) connections, \(gateway.inFlight) requests in flight, \(gateway.held) held "
            + "(\(gateway.heldBytes) bytes), \(gateway.refused) refused; listening on \(gateway.addresses.joined(separator: ", "))"
        guard !gateway.backends.isEmpty else { return [line] }
        return [line]
            + self.table(
                [["BACKEND", "STATE", "IN FLIGHT", "REQUESTS", "ERRORS", "RETRIES"]]
                    + gateway.backends.map { backend in
                        [
                            ReplicaLabel.text(backend.name, generation: backend.generation),
                            backend.isActive ? "active" : backend.isReady ? "idle" : "gone", "\(backend.inFlight)",
                            "\(backend.requests)", "\(backend.errors)", "\(backend.retries)",
                        ]
                    }
            )
    }

    private static func row(_ relay: KVRelayStatus, of replica: String) -> [String] {
        [
            replica, relay.state.rawValue, relay.worker ?? "-", "\(relay.blocks)", "\(relay.events)",
            "\(relay.published)", "\(relay.gaps)", "\(relay.losses)", relay.reason ?? "",
        ]
    }

    private static func headline(_ status: DeploymentStatus) -> String {
        let ready = status.replicas.count { $0.state == .ready }
        var line = "\(status.deployment): \(status.state.rawValue), \(ready) of \(status.replicas.count) ready"
        line += ", up \(Seconds.text(status.uptime))"
        if let after = status.readyAfter { line += ", ready after \(Seconds.text(after))" }
        return line + ", launcher pid \(status.launcherPID)"
    }

    /// With a column for devices where there are any.
    private static func rows(_ replicas: [ReplicaStatus]) -> [[String]] {
        let hasDevices = replicas.contains { $0.gpus != nil }
        var head = ["PROCESS", "STATE", "LAYER", "PID", "UP", "RESTARTS", "PORTS"]
        if hasDevices { head.append("GPUS") }
        head.append("NOTE")
        return [head] + replicas.map { self.row($0, hasDevices: hasDevices) }
    }

    private static func row(_ replica: ReplicaStatus, hasDevices: Bool) -> [String] {
        let note = replica.state == .ready ? replica.says : replica.waitingFor ?? replica.lastExit
        var row = [
            replica.name, replica.state.rawValue, replica.layer?.rawValue ?? "-", replica.pid.map(String.init) ?? "-",
            replica.uptime.map(Seconds.text) ?? "-", "\(replica.restarts)",
            replica.ports.map { "\($0.name)=\($0.port)" }.joined(separator: ","),
        ]
        if hasDevices { row.append(replica.gpus?.joined(separator: ",") ?? "-") }
        row.append(note ?? "")
        return row
    }

    /// Columns as wide as their widest cell, two spaces apart.
    static func table(_ rows: [[String]]) -> [String] {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { $0.indices.contains(column) ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            let cells = zip(row, widths).map { cell, width in cell + String(repeating: " ", count: width - cell.count) }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
    }
}

extension DeploymentStatus {
    /// The servers outside the deployment that do not answer.
    var silentServices: [ExternalServiceStatus] { (self.externalServices ?? []).filter { $0.failure != nil } }
}

extension ExternalServiceStatus {
    /// What is wrong with it, for people.
    var words: String {
        "\(self.name) at \(self.url) has not answered for \(Seconds.text(self.silentFor ?? 0)): "
            + "\(self.failure ?? "no reason"); it runs outside the deployment, and nothing here starts it again"
    }
}

/// Durations for people.
enum Seconds {
    /// `0.43 s`, `12.3 s`, `4 min 10 s`, `3 h 2 min`.
    static func text(_ seconds: Double) -> String {
        switch seconds {
        case ..<10: "\(self.rounded(seconds, to: 100)) s"
        case ..<120: "\(self.rounded(seconds, to: 10)) s"
        case ..<7200: "\(Int(seconds) / 60) min \(Int(seconds) % 60) s"
        default: "\(Int(seconds) / 3600) h \(Int(seconds) % 3600 / 60) min"
        }
    }

    private static func rounded(_ seconds: Double, to parts: Double) -> String {
        let value = Int((seconds * parts).rounded())
        let fraction = String(value % Int(parts))
        let digits = parts == 100 ? 2 : 1
        return "\(value / Int(parts)).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
    }
}
