import Deployment

/// What `doctor` says.
struct DoctorReport: Sendable, Codable {
    struct Process: Sendable, Codable {
        var pid: Int32
        var component: String
    }

    /// What was examined together.
    struct Case: Sendable, Codable {
        /// nil: no launcher runs it, or has run it.
        var deployment: String?
        var processes: [Process]
        /// The worst first.
        var findings: [Finding]
    }

    var cases: [Case]
    var errors: Int
    var warnings: Int
    var notes: Int

    init(_ cases: [Case]) {
        let findings = cases.flatMap(\.findings)
        self.cases = cases
        self.errors = findings.count { $0.severity == .error }
        self.warnings = findings.count { $0.severity == .warning }
        self.notes = findings.count { $0.severity == .note }
    }

    /// For people.
    var text: String {
        var lines: [String] = []
        for examined in self.cases {
            let names = examined.processes.map { "\($0.component) (pid \($0.pid))" }
            lines.append(
                (examined.deployment.map { "deployment \($0)" } ?? "without a launcher")
                    + ": \(names.isEmpty ? "no Dynamo process" : names.joined(separator: ", "))"
            )
            for finding in examined.findings {
                lines.append("\(finding.severity.rawValue): \(finding.what) [\(finding.kind.rawValue)]")
                lines += finding.evidence.map { "  evidence: \($0)" }
                lines.append("  remedy: \(finding.remedy)")
            }
        }
        return (lines + [self.summary]).joined(separator: "\n")
    }

    private var summary: String {
        guard self.errors + self.warnings + self.notes > 0 else { return "nothing is wrong" }
        func count(_ number: Int, _ word: String) -> String { "\(number) \(word)\(number == 1 ? "" : "s")" }
        return [count(self.errors, "error"), count(self.warnings, "warning"), count(self.notes, "note")]
            .joined(separator: ", ")
    }
}
