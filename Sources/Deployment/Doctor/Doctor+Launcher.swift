/// What a launcher knows of its own processes.
extension Doctor {
    var ofLauncher: [Finding] {
        guard let launched = self.facts.launched else { return [] }
        var findings: [Finding] = []
        if let failure = launched.failure {
            findings.append(
                Finding(
                    .error,
                    .deploymentFailed,
                    "deployment \(launched.name) has failed",
                    evidence: [failure],
                    remedy: "correct what its process says, and start it again with: dynamo-launch up"
                )
            )
        }
        findings += launched.warnings.map {
            Finding(
                .warning,
                .deploymentWarning,
                "the launcher of \(launched.name) warns",
                evidence: [$0],
                remedy: "see: dynamo-launch events \(launched.name) --level warning"
            )
        }
        return findings + launched.replicas.compactMap { Self.finding($0, in: launched.name) }
    }

    /// That nobody is there who would know anything.
    var ofOrphans: [Finding] {
        guard let orphaned = self.facts.orphaned else { return [] }
        let (name, running, ended) = (orphaned.name, orphaned.running, orphaned.ended)
        var evidence = ["its launcher ended at \(orphaned.launcherEnded)"]
        evidence.append(running == 1 ? "1 process goes on" : "\(running) processes go on")
        if ended > 0 {
            evidence.append(
                "\(ended) process\(ended == 1 ? " has" : "es have") ended since and \(ended == 1 ? "is" : "are") not started again"
            )
        }
        return [
            Finding(
                .warning,
                .launcherGone,
                "the launcher of \(name) is gone: its processes serve, but nobody watches them, and one that ends is not started again",
                evidence: evidence,
                remedy: "adopt them with: dynamo-launch up MANIFEST; or end them with: dynamo-launch stop \(name)"
            )
        ]
    }

    private static func finding(_ replica: DoctorFacts.Launched.Replica, in name: String) -> Finding? {
        var evidence: [String] = []
        if let waiting = replica.waitingFor { evidence.append("waiting for \(waiting)") }
        if let exit = replica.lastExit { evidence.append("last exit: \(exit)") }
        if replica.restarts > 0 { evidence.append("restarts: \(replica.restarts)") }
        evidence += replica.lines.map { "log: \($0)" }
        evidence.append("log file: \(replica.logFile)")
        let logs = "see: dynamo-launch logs \(name) --process \(replica.name)"
        switch replica.state {
        case "stopped" where replica.waitingFor != nil:
            return Finding(
                .note,
                .replicaDown,
                "\(replica.name) was stopped by a person",
                evidence: evidence,
                remedy: "start it again with: dynamo-launch start \(replica.name) --deployment \(name)"
            )
        case "failed", "backing-off", "unready":
            return Finding(
                .error,
                .replicaDown,
                "\(replica.name) is \(replica.state)",
                evidence: evidence,
                remedy: "correct what its last lines say; \(logs)"
            )
        case "waiting", "starting", "restarting":
            return Finding(
                .warning,
                .replicaWaiting,
                "\(replica.name) is \(replica.state)",
                evidence: evidence,
                remedy: "wait for it with: dynamo-launch status --wait \(name); else \(logs)"
            )
        case "ready" where replica.restarts > 0:
            return Finding(
                .warning,
                .replicaRestarted,
                "\(replica.name) is ready, but was started again \(replica.restarts) time\(replica.restarts == 1 ? "" : "s")",
                evidence: evidence,
                remedy: "see why with: dynamo-launch events \(name) --process \(replica.name)"
            )
        default: return nil
        }
    }
}
