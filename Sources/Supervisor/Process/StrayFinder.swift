internal import Deployment

/// Finds the strays of a deployment.
///
/// A process belongs to the replica that its environment names, or else to the one whose leader's session it is in (a
/// program that rewrites its title overwrites its environment), or else to its parent's.
struct StrayFinder: Sendable {
    /// The variable that every replica is given.
    static let marker = "DYNAMO_LAUNCH_REPLICA"

    /// What the value of the marker begins with.
    var prefix: String
    var keeper: Int32
    /// The processes that the keeper was asked to start and that run.
    var leaders: Set<Int32>
    /// The replica of each leader, of those that have ended too.
    var sessions: [Int32: Int]
    var replicas: [String: Int]

    /// Reads /proc; at rest, when all children of the keeper are leaders, only one file of it.
    func find() -> [Stray] {
        if let children = ProcessTable.children(of: self.keeper), children.allSatisfy(self.leaders.contains) {
            return []
        }
        return self.strays(in: ProcessTable.all()) { pid in
            ProcessTable.variable(Self.marker, of: pid)
        } command: { pid in
            ProcessTable.command(of: pid)
        }
    }

    /// The same on a given table.
    func strays(
        in table: [ProcessEntry],
        marker: (Int32) -> String?,
        command: (Int32) -> String
    ) -> [Stray] {
        let children = Dictionary(grouping: table) { $0.parent }
        var strays: [Stray] = []
        var open: [(ProcessEntry, Int?)] = (children[self.keeper] ?? [])
            .filter { !self.leaders.contains($0.pid) }
            .map { ($0, nil) }
        while let (entry, parentOwner) = open.popLast() {
            let owner = self.owner(of: marker(entry.pid)) ?? self.sessions[entry.session] ?? parentOwner
            if !entry.isZombie {
                strays.append(
                    Stray(pid: entry.pid, startTime: entry.startTime, owner: owner, command: command(entry.pid))
                )
            }
            open += (children[entry.pid] ?? []).map { ($0, owner) }
        }
        return strays
    }

    private func owner(of marker: String?) -> Int? {
        guard let marker, marker.hasPrefix(self.prefix) else { return nil }
        return self.replicas[String(marker.dropFirst(self.prefix.count))]
    }
}

extension Plan {
    /// What `StrayFinder.marker` begins with in every process of this generation, and in no other.
    var markerPrefix: String {
        self.generation == 1 ? "\(self.deployment)/" : "\(self.deployment)@\(self.generation)/"
    }
}
