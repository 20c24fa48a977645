internal import Glibc

/// A deployment whose launcher is gone and whose processes go on.
package struct OrphanedDeployment: Sendable, Hashable {
    package var name: String
    /// How many of its processes run.
    package var running: Int
    /// When its launcher ended, in seconds since 1970.
    package var launcherEnded: Double
    private var runtime: String

    /// Looks for one.
    ///
    /// - Parameters:
    ///   - name: of the deployment.
    ///   - root: the folder of all deployments of the user.
    /// - Returns: it; nil when it has a launcher, or does not run at all.
    package static func find(_ name: String, under root: String) -> OrphanedDeployment? {
        let runtime = "\(root)/\(name)"
        let lock = "\(runtime)/lock"
        guard !name.contains("/"), !name.isEmpty, DeploymentLock.hasNoLauncher(path: lock),
            !DeploymentLock.isFree(path: lock)
        else { return nil }
        var reports = KeeperVisit.doors(under: runtime).compactMap { KeeperVisit.look($0) }
        if reports.isEmpty { reports = [KeeperVisit.look(KeeperVisit.portDoor(under: runtime))].compactMap(\.self) }
        guard !reports.isEmpty else { return nil }
        return OrphanedDeployment(
            name: name,
            running: reports.reduce(0) { $0 + $1.running },
            launcherEnded: reports.map(\.launcherEnded).max() ?? 0,
            runtime: runtime
        )
    }

    /// What it is and what can be done with it, in words.
    package var words: String {
        let ended = LogTime(milliseconds: Int64(self.launcherEnded * 1000))
        let processes = self.running == 1 ? "its process goes on" : "its \(self.running) processes go on"
        return
            "the launcher of \(self.name) is gone (it ended at \(ended)); \(processes); 'dynamo-launch up MANIFEST' adopts them, "
            + "'dynamo-launch stop \(self.name)' ends them"
    }

    /// Ends its processes: SIGTERM, and SIGKILL for those that are there two seconds later.
    ///
    /// - Parameter limit: the longest wait.
    /// - Returns: whether nothing of it is left.
    package func end(within limit: Duration = .seconds(15)) async -> Bool {
        for door in KeeperVisit.doors(under: self.runtime) + [KeeperVisit.portDoor(under: self.runtime)] {
            _ = KeeperVisit.finish(door)
        }
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            if DeploymentLock.isFree(path: "\(self.runtime)/lock") { return true }
            try? await Task.sleep(for: .milliseconds(20))
        }
        return false
    }
}
