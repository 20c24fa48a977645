import Foundation
import Supervisor
import Testing

@testable import Rollout

/// `docs/migration.md` has the machine's own diagram and table.
///
/// After a change of the table, `UPDATE_MIGRATION_DIAGRAM=1` writes them anew.
struct MigrationDiagramTests {
    private static let document = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "docs/migration.md")

    @Test(arguments: [
        ("migration-diagram", "```mermaid\n\(MigrationMachine.diagram)```\n"),
        ("migration-steps", MigrationMachine.stepTable),
    ])
    func `the document says what the table says`(name: String, text: String) throws {
        let begin = "<!-- \(name): generated, see MigrationDiagramTests -->\n"
        let end = "<!-- end of \(name) -->\n"
        let content = try String(contentsOf: Self.document, encoding: .utf8)
        let first = try #require(content.range(of: begin), "docs/migration.md lacks the line \(begin)")
        let last = try #require(
            content.range(of: end, range: first.upperBound..<content.endIndex),
            "docs/migration.md lacks the line \(end)"
        )
        if ProcessInfo.processInfo.environment["UPDATE_MIGRATION_DIAGRAM"] != nil {
            let updated = content.replacingCharacters(in: first.upperBound..<last.lowerBound, with: text)
            try updated.write(to: Self.document, atomically: true, encoding: .utf8)
        } else {
            #expect(String(content[first.upperBound..<last.lowerBound]) == text)
        }
    }

    @Test func `every transition of the table has its arrow, and every box its exit`() {
        let diagram = MigrationMachine.diagram
        for step in MigrationStep.allCases {
            let name = step.rawValue.replacing("-", with: "_")
            #expect(diagram.contains("--> \(name):"), "nothing leads to \(name)")
        }
        for row in MigrationMachine.table {
            guard let to = row.to else { continue }
            let label = ([row.on.words] + row.when.map(\.words)).joined(separator: ", ")
            let arrows = diagram.split(separator: "\n").filter {
                $0.contains("--> \(to.rawValue.replacing("-", with: "_")):")
            }
            #expect(arrows.contains { $0.contains(label) }, "\(label) does not lead to \(to)")
        }
    }
}
