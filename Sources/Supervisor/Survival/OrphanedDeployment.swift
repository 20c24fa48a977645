internal import Glibc

/// A deployment whose launcher is gone and whose processes go on.
package struct OrphanedDeployment: Sendable, Hashable {
    package var name: String
    /// How many of its processes run.
    package var running: Int
    /// How many have ended since.
    package var ended: Int
    /// The last one of which processes go on.
    package var generation: Int
    /// When its launcher ended, in seconds since 1970.
    package var launcherEnded: Double
    private var keepers: [Int32]
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
        let doors = KeeperVisit.doors(under: runtime)
        var generation = 1
        var reports = doors.compactMap { door -> KeeperVisit.Report? in
            // A door may have outlived its keeper.
            guard let report = KeeperVisit.look(door.path) else { return nil }
            generation = door.generation
            return report
        }
        if reports.isEmpty { reports = [KeeperVisit.look(KeeperVisit.portDoor(under: runtime))].compactMap(\.self) }
        guard !reports.isEmpty else { return nil }
        return OrphanedDeployment(
            name: name,
            running: reports.reduce(0) { $0 + $1.running },
            ended: reports.reduce(0) { $0 + $1.ended },
            generation: generation,
            launcherEnded: reports.map(\.launcherEnded).max() ?? 0,
            keepers: reports.map(\.pid),
            runtime: runtime
        )
    }

    /// The processes that its launcher has started and that run.
    package var leaders: Set<Int32> { Set(self.keepers.flatMap { ProcessTable.children(of: $0) ?? [] }) }

    /// When its launcher ended, in words.
    package var launcherEndedWords: String { "\(LogTime(milliseconds: Int64(self.launcherEnded * 1000)))" }

    /// What can be done with one that has something which others want, in words.
    ///
    /// - Parameters:
    ///   - name: of the deployment; `~` at its end stands for what there was no room for.
    ///   - user: whose it is: nobody else's commands find it.
    /// - Returns: what follows the name in a sentence.
    static func remedy(_ name: String, of user: UInt32) -> String {
        let who = user == getuid() ? "" : "as user \(UserName.of(user)), "
        let stop = name.hasSuffix("~") ? "'dynamo-launch stop' with its whole name" : "'dynamo-launch stop \(name)'"
        return
            "whose launcher is gone and whose processes go on (\(who)'dynamo-launch up MANIFEST' adopts them, \(stop) ends them)"
    }

    /// What it is and what can be done with it, in words.
    package var words: String {
        let processes = self.running == 1 ? "its process goes on" : "its \(self.running) processes go on"
        return
            "the launcher of \(self.name) is gone (it ended at \(self.launcherEndedWords)); \(processes); 'dynamo-launch up MANIFEST' adopts them, "
            + "'dynamo-launch stop \(self.name)' ends them"
    }

    /// Ends its processes: SIGTERM, and SIGKILL for those that are there two seconds later.
    ///
    /// - Parameter limit: the longest wait, which ends when the task is cancelled; its keepers go on ending it then.
    /// - Returns: whether nothing of it is left.
    package func end(within limit: Duration = .seconds(15)) async -> Bool {
        for door in KeeperVisit.doors(under: self.runtime).map(\.path) + [KeeperVisit.portDoor(under: self.runtime)] {
            _ = KeeperVisit.finish(door)
        }
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            if DeploymentLock.isFree(path: "\(self.runtime)/lock") { return true }
            do { try await Task.sleep(for: .milliseconds(20)) } catch { return false }
        }
        return false
    }
}
