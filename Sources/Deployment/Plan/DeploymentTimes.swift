/// How long a deployment may take by its manifest's own limits.
package struct DeploymentTimes: Sendable, Hashable {
    private let plan: Plan

    package init(_ plan: Plan) { self.plan = plan }

    /// Longest time, in seconds, that requests at the public port may take once it is being closed, or once the frontend that has them is
    /// to be started again.
    package var drain: Double {
        guard self.plan.gateway != nil else { return 0 }
        return self.plan.replicas.filter { $0.role == .frontend }.map(\.stop.grace).max() ?? 0
    }

    /// Longest time, in seconds, until everything is stopped: the public port, then levels one after another, the replicas of one together.
    ///
    /// What is still there after its grace is killed, which takes a moment for each level.
    package var stop: Double {
        let levels = Self.levels(of: self.plan.replicas)
        var longest: [Int: Double] = [:]
        for (level, replica) in zip(levels, self.plan.replicas) {
            longest[level] = max(longest[level] ?? 0, replica.stop.grace)
        }
        return longest.values.reduce(self.drain) { $0 + $1 + Self.killing }
    }

    /// Seconds for what was killed to be gone, a GPU's driver included.
    private static let killing = 5.0

    /// A replica's level is one above the highest of its dependencies.
    ///
    /// A plan lists dependencies first, so one pass is enough; what was added while the deployment ran comes last and takes more. A cycle,
    /// which validation excludes, could not make it endless.
    package static func levels(of replicas: [ReplicaPlan]) -> [Int] {
        var byProcess: [String: Int] = [:]
        var levels: [Int] = []
        for _ in 0...replicas.count {
            let before = byProcess
            levels = replicas.map { replica in
                let below = replica.dependencies.compactMap {
                    $0.process == replica.process ? nil : byProcess[$0.process]
                }
                let level = below.max().map { $0 + 1 } ?? 0
                byProcess[replica.process] = max(level, byProcess[replica.process] ?? 0)
                return level
            }
            if byProcess == before { break }
        }
        return levels
    }
}
