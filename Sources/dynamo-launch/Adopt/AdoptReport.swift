import Deployment

/// What `adopt` says of one deployment.
struct AdoptReport: Sendable, Codable {
    /// One process.
    struct Process: Sendable, Codable {
        var pid: Int32
        /// Field 22 of its stat line.
        var startTime: UInt64
        var role: String
        var component: String
        var release: String?
        var requestPlane: String
        var eventPlane: String?
        var namespace: String?
        var ports: [Int]
        var gpus: [Int]?
        var unit: String?
        var startedBy: String?
    }

    var name: String
    var discovery: String
    var processes: [Process]
    /// What differs between them and must not.
    var differences: [String]
    /// What the manifest has otherwise.
    var notes: [String]
    var manifest: String
    /// What is wrong with the manifest.
    var errors: [String]
    var stopCommands: [String]
    var advice: [String]

    init(_ deployment: FoundDeployment, _ manifest: AdoptedManifest, _ advice: AdoptionAdvice, errors: [String]) {
        self.name = manifest.name
        self.discovery = deployment.discoveryWords
        self.processes = deployment.processes.map { process in
            let facts = process.facts
            return Process(
                pid: process.pid,
                startTime: process.process.startTime,
                role: process.role.rawValue,
                component: process.component,
                release: process.release.map { "\($0)" },
                requestPlane: facts.requestPlane,
                eventPlane: facts.eventPlane,
                namespace: facts.namespace,
                ports: Array(Set(process.process.listeners.map(\.port))).sorted(),
                gpus: facts.gpus,
                unit: process.process.unit?.name,
                startedBy: process.startedBy
            )
        }
        self.differences = deployment.differences
        self.notes = manifest.notes
        self.manifest = manifest.text
        self.errors = errors
        self.stopCommands = advice.stopCommands
        self.advice = advice.lines
    }

    /// For people.
    ///
    /// - Parameter isWritten: whether the manifest is in a file.
    /// - Returns: lines.
    func text(isWritten: Bool) -> String {
        var lines = [
            "found: \(self.processes.count) process\(self.processes.count == 1 ? "" : "es"), discovery \(self.discovery)"
        ]
        lines += Self.table(self.processes)
        lines += self.differences.map { "warning: \($0)" }
        if !isWritten {
            lines += ["", "The manifest:", ""]
            lines += self.manifest.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map {
                $0.isEmpty ? "" : "  \($0)"
            }
        }
        lines.append("")
        lines += self.notes.map { "note: \($0)" }
        guard self.errors.isEmpty else {
            return (lines + ["This manifest does not pass 'check':"] + self.errors).joined(separator: "\n")
        }
        return (lines + self.advice).joined(separator: "\n")
    }

    private static func table(_ processes: [Process]) -> [String] {
        StatusRendering.table(
            [["PROCESS", "PID", "DYNAMO", "PLANE", "EVENTS", "NAMESPACE", "PORTS", "GPUS", "UNIT"]]
                + processes.map { process in
                    [
                        process.component, "\(process.pid)", process.release ?? "-", process.requestPlane,
                        process.eventPlane ?? "-", process.namespace ?? "all",
                        process.ports.isEmpty ? "-" : process.ports.map(String.init).joined(separator: ","),
                        process.gpus.map { $0.map(String.init).joined(separator: ",") } ?? "-", process.unit ?? "-",
                    ]
                }
        )
    }

    /// Only what runs.
    static func table(_ processes: [FoundProcess]) -> String {
        StatusRendering.table(
            [["PROCESS", "PID"]] + processes.map { [$0.component, "\($0.pid)"] }
        ).joined(separator: "\n")
    }
}
