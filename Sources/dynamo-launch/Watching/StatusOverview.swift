import Deployment
import Supervisor

/// Several deployments of this machine, a line for each.
struct StatusOverview {
    /// Of those whose launcher answers.
    private(set) var statuses: [DeploymentStatus] = []
    /// What is wrong with the others, in words.
    private(set) var troubles: [String] = []
    private var rows: [[String]] = []

    /// All there are, also those without a launcher; nil when there are fewer than two.
    static func ofSeveral() async -> Self? {
        let orphans = RunningDeployment.orphans(nil)
        // Seen without asking: one that does not answer is waited for once.
        guard RunningDeployment.names.count + orphans.count > 1 else { return nil }
        var overview = Self()
        for deployment in await RunningDeployment.all() {
            do { overview.add(try await deployment.status()) } catch {
                overview.add(deployment.name, "no answer", "deployment \(deployment.name): \(error)")
            }
        }
        for orphan in orphans { overview.add(orphan.name, "no launcher", orphan.words) }
        return overview
    }

    mutating func add(_ status: DeploymentStatus) {
        self.statuses.append(status)
        let ready = status.replicas.count { $0.state == .ready }
        self.rows.append([
            status.deployment, status.state.rawValue, "\(ready)/\(status.replicas.count)",
            status.planes.request.rawValue, Seconds.text(status.uptime), status.url,
        ])
    }

    mutating func add(_ name: String, _ state: String, _ trouble: String) {
        self.troubles.append("error: \(trouble)")
        self.rows.append([name, state, "-", "-", "-", "-"])
    }

    /// Whether each has a launcher that answers, and none has failed.
    var isWell: Bool { self.troubles.isEmpty && self.statuses.allSatisfy { $0.state != .failed } }

    /// A table, what is wrong, and how to see more.
    var text: String {
        let head = [["DEPLOYMENT", "STATE", "READY", "REQUEST PLANE", "UPTIME", "URL"]]
        let hint = "of one of them: dynamo-launch status NAME"
        return (StatusRendering.table(head + self.rows) + [""] + self.troubles + [hint]).joined(separator: "\n")
    }
}
