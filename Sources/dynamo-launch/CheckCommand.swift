import ArgumentParser
import Deployment

/// `check`: every error of a manifest, and nothing started.
struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Validate a manifest and print every error, each with its place, cause and remedy."
    )

    @OptionGroup var options: ManifestOptions

    func run() async throws {
        let preparation = try Preparation(self.options)
        let plan = try await preparation.plan(leases: .preview)
        for note in plan.notes { Terminal.print("note: \(note)") }
        let replicas = plan.replicas.count
        Terminal.print(
            "\(preparation.path): valid; deployment \(plan.deployment), "
                + "\(replicas) process\(replicas == 1 ? "" : "es"), request plane \(plan.planes.request.rawValue)"
                + (plan.release.map { ", Dynamo \($0)" } ?? "")
        )
    }
}
