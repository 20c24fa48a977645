extension MigrationSettings {
    /// Lines for people; none when nothing differs from what is done without the key.
    var rendered: [(label: String, text: String)] {
        guard self != MigrationSettings() else { return [] }
        let steps = self.steps.map { "\($0)%" }.joined(separator: ", ")
        var moves: [String] = []
        switch self.strategy {
        case .blueGreen: moves.append("blue-green: \(steps) of the requests")
        case .recreate: moves.append("recreate: \(steps) of the requests")
        case .rolling:
            let floor = self.minimumWorkers.map { "at least \($0) of them ready" } ?? "all but one of them ready"
            moves.append("rolling: worker by worker, \(floor)")
        }
        moves.append(self.observe > 0 ? "each step watched for \(Seconds.rendered(self.observe))" : "unwatched")
        if let limit = self.startTimeout { moves.append("ready within \(Seconds.rendered(limit))") }
        if let limit = self.drainTimeout { moves.append("drained within \(Seconds.rendered(limit))") }
        if self.strategy == .blueGreen {
            moves.append(
                self.rollbackWindow > 0
                    ? "kept for \(Seconds.rendered(self.rollbackWindow)) for a return" : "no way back when it is done"
            )
        }
        var lines = [(label: "migration", text: moves.joined(separator: ", "))]
        lines += self.canary.map { (label: "canary", text: $0.rendered) }
        lines.append(("thresholds", self.thresholds.rendered))
        return lines
    }
}

extension MigrationSettings.CanaryCheck {
    fileprivate var rendered: String {
        let answer = self.expect.map { "an answer that matches /\(Spelling.excerpt($0))/" } ?? "any answer"
        return
            "'\(Spelling.excerpt(self.prompt))' gets \(answer) within \(Seconds.rendered(self.timeout)), of at most \(self.maxTokens) tokens"
    }
}

extension MigrationSettings.Thresholds {
    fileprivate var rendered: String {
        "\(Self.number(self.errorRate * 100))% errors, \(Self.number(self.firstToken)) times the time to first token, "
            + "\(Self.number(self.betweenTokens)) times the time between tokens, from \(self.minimumRequests) requests on"
    }

    /// At most three digits after the point, and none when there is nothing to say.
    private static func number(_ value: Double) -> String {
        let rounded = (value * 1000).rounded() / 1000
        return rounded == rounded.rounded() ? String(Int(rounded)) : String(rounded)
    }
}
