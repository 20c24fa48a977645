internal import Supervisor

extension MigrationMachine {
    /// The table's transitions as a Mermaid `stateDiagram-v2`.
    ///
    /// Rows that stay in their step are left out: nothing moves by them.
    package static var diagram: String {
        var lines = ["stateDiagram-v2"]
        for step in MigrationStep.allCases where step.rawValue.contains("-") {
            lines.append("    state \"\(step.rawValue)\" as \(Self.identifier(step))")
        }
        lines.append("    state \"can be taken back\" as reversible {")
        for (name, title, members) in Self.groups {
            lines.append("        state \"\(title)\" as \(name) {")
            lines += members.map { "            \(Self.identifier($0))" }
            lines.append("        }")
        }
        lines.append("    }")
        // All labels between the same two boxes stand at one arrow.
        var arrows: [(edge: String, labels: [String])] = []
        for row in Self.table {
            guard let to = row.to else { continue }
            for source in Self.sources(of: row.from) {
                let edge = "    \(source) --> \(Self.identifier(to))"
                let label = ([row.on.words] + row.when.map(\.words)).joined(separator: ", ") + row.stage.words
                if let index = arrows.firstIndex(where: { $0.edge == edge }) {
                    if !arrows[index].labels.contains(label) { arrows[index].labels.append(label) }
                } else {
                    arrows.append((edge, [label]))
                }
            }
        }
        lines += arrows.map { "\($0.edge): \($0.labels.joined(separator: "<br/>"))" }
        lines += Self.ends.map { "    \(Self.identifier($0)) --> [*]" }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The steps as a table in Markdown: what happens, what comes after it, and what a failure leads to.
    package static var stepTable: String {
        var lines = ["| step | what happens | what comes after it | when it fails |", "|---|---|---|---|"]
        for step in MigrationStep.allCases {
            let onward = Self.rows(from: step, step.hasWork ? [.finished] : [.warmOver, .promote])
            let failing = Self.rows(from: step, step.hasWork ? [.failed] : [.newEnded])
            lines.append(
                "| `\(step.rawValue)` | \(step.explanation) | \(Self.cell(onward)) | \(Self.cell(failing)) |"
            )
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static let groups: [(name: String, title: String, members: [MigrationStep])] = [
        ("unproved", "not proved", Self.unproved), ("moving", "clients move", Self.moving),
        ("committed", "new one has all", Self.committed),
    ]

    private static func identifier(_ step: MigrationStep) -> String {
        String(step.rawValue.map { $0 == "-" ? "_" : $0 })
    }

    /// The boxes that stand for some steps: whole groups where all members are meant.
    private static func sources(of steps: [MigrationStep]) -> [String] {
        guard !steps.isEmpty else { return ["[*]"] }
        var left = Set(steps)
        var names: [String] = []
        for (name, members) in [("reversible", Self.reversible)] + Self.groups.map({ ($0.name, $0.members) })
        where left.isSuperset(of: members) {
            names.append(name)
            left.subtract(members)
        }
        return names + MigrationStep.allCases.filter(left.contains).map(Self.identifier)
    }

    private static func rows(from step: MigrationStep, _ triggers: [Trigger]) -> [Transition] {
        Self.table.filter { $0.to != nil && triggers.contains($0.on) && $0.from.contains(step) }
    }

    /// The steps that rows lead to, each with what leads there.
    private static func cell(_ rows: [Transition]) -> String {
        var parts: [(step: MigrationStep, causes: [[String]])] = []
        for row in rows {
            guard let to = row.to else { continue }
            let causes = ([.finished, .failed].contains(row.on) ? [] : [row.on.words]) + row.when.map(\.words)
            if let index = parts.firstIndex(where: { $0.step == to }) {
                parts[index].causes.append(causes)
            } else {
                parts.append((to, [causes]))
            }
        }
        let texts = parts.map { part in
            // What asks for more than another one that leads to the same adds nothing.
            let needed = part.causes.filter { one in !part.causes.contains { $0 != one && Set($0).isSubset(of: one) } }
            let words = needed.map { $0.joined(separator: ", ") }.filter { !$0.isEmpty }
            return "`\(part.step.rawValue)`" + (words.isEmpty ? "" : " (\(words.joined(separator: "; or ")))")
        }
        return texts.isEmpty ? "-" : texts.joined(separator: "; else ")
    }
}

extension MigrationMachine.StageChoice {
    fileprivate var words: String {
        switch self {
        case .same, .first: ""
        case .next: " (next stage)"
        case .last: " (last stage)"
        }
    }
}

extension MigrationStep {
    /// For the table of the steps.
    fileprivate var explanation: String {
        switch self {
        case .preparing: "manifest, release, GPUs, ports and servers are looked at; nothing is changed"
        case .emptying: "with `recreate`: the old generation answers what it has and is stopped; new requests wait"
        case .starting: "the new generation starts, until it is ready through every layer"
        case .verifying: "what the new generation has published in discovery is compared with its plan"
        case .canary: "probe requests go through the new generation"
        case .confirming: "with `--confirm`: a person is waited for"
        case .shifting: "the next part of the requests (`rolling`: of the workers) moves to the new generation"
        case .observing: "errors and times of the new generation are compared with those of the old one"
        case .draining:
            "the old generation gets nothing new and answers what it has; the next start is with the new one"
        case .warm: "the old generation is kept running for an instant return"
        case .retiring: "the old generation is stopped"
        case .rollingBack: "requests go back to the old generation, and the new one is stopped"
        case .done: "the new generation serves, and the old one is gone"
        case .rolledBack: "the old generation serves as before, and the new one is gone"
        case .failed: "neither could be kept"
        }
    }
}
