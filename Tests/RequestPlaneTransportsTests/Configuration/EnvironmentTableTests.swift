import Foundation
import TestSupport
import Testing

@testable import RequestPlaneTransports

/// The documented table against what the code really asks for.
@Suite struct EnvironmentTableTests {
    /// The variables with their defaults in the rows of `docs/environment.md` that belong to the request plane.
    private func documented() throws -> [String: String] {
        let file = TestEnvironment.root.appending(path: "docs/environment.md")
        let document = try String(contentsOf: file, encoding: .utf8)
        // What follows the first part belongs to programs, whose own tests look at it.
        let text = try #require(document.components(separatedBy: "\n# ").first)
        var rows: [String: String] = [:]
        for line in text.split(separator: "\n") where line.hasPrefix("| `") {
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            try #require(cells.count == 5, "a row has five cells: \(line)")
            let name = cells[0].trimmingCharacters(in: ["`"])
            try #require(rows[name] == nil, "\(name) has two rows")
            rows[name] = cells[1].trimmingCharacters(in: ["`"])
        }
        return rows
    }

    @Test func tableIsWhatIsRead() throws {
        let reader = EnvironmentReader(environment: [:], logger: quietLogger)
        _ = try NetworkManager.Configuration(reader)
        let documented = try self.documented()
        #expect(Set(documented.keys) == Set(reader.asked.keys))
        for (name, text) in reader.asked { #expect(documented[name] == text, "\(name)") }
    }
}
