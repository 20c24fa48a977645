import ArgumentParser
import Deployment
import FoundationEssentials

/// `plan`: what `up` would start.
struct PlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Show what would be started: order, argv, environment, ports and readiness. Starts nothing.",
        discussion: "Ports that the launcher chooses are chosen anew by 'up'; here they are ports that are free now."
    )

    @OptionGroup var options: ManifestOptions

    @Flag(help: "Print the plan as JSON.")
    var json = false

    func run() async throws {
        let preparation = try Preparation(self.options)
        let plan = try await preparation.plan(leases: .preview)
        if self.json {
            Terminal.print(try JSONText.pretty(plan.masked))
        } else {
            Terminal.print("manifest: \(preparation.description)")
            Terminal.printVerbatim(plan.rendered())
        }
    }
}

/// JSON for people and programs: sorted keys, no escaped slashes.
enum JSONText {
    /// On one line.
    static func line(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    static func pretty(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
