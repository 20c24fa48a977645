import Deployment
import Supervisor

/// Which steps a migration has passed, and how long they took, as far as it was watched.
struct MigrationTimeline: Sendable {
    /// One line of the view: all stages are one.
    struct Row: Sendable, Hashable {
        enum State: Sendable, Hashable {
            case passed, current, upcoming
            /// What was done when the migration was taken back.
            case broken
        }

        var step: MigrationStep
        var state: State
        /// So far, in seconds; nil: not watched.
        var seconds: Double?
    }

    /// In the order in which they were seen; `observing` is `shifting`.
    private var seen: [(step: MigrationStep, begun: Double?, ended: Double?)] = []
    private var last: MigrationStatus?

    /// Takes the next status.
    mutating func take(_ status: MigrationStatus) {
        defer { self.last = status }
        let step = Self.row(of: status.step)
        if let index = self.seen.indices.last, self.seen[index].step == step {
            self.seen[index].ended = status.elapsed
            return
        }
        let begun = max(0, status.elapsed - status.stepElapsed)
        if let index = self.seen.indices.last { self.seen[index].ended = begun }
        // What was under way before the first look may have begun with an earlier stage.
        let isWhole = step != .shifting || !self.seen.isEmpty || status.step == .shifting && status.stage ?? 1 == 1
        self.seen.append((step, isWhole ? begun : nil, status.elapsed))
    }

    /// The lines of the view at the last status.
    var rows: [Row] {
        guard let last else { return [] }
        let current = Self.row(of: last.step)
        var rows: [Row] = []
        // What was passed before the first look.
        if let first = self.seen.first?.step, first != .rollingBack, first != .rolledBack, first != .failed {
            rows += Self.usual(last.strategy).prefix { $0 != first && Self.isBefore($0, first) }
                .filter { $0 != .warm || first == .warm }
                .map { Row(step: $0, state: .passed, seconds: nil) }
        }
        for one in self.seen where !one.step.isEnd {
            let seconds = one.begun.flatMap { begun in one.ended.map { max(0, $0 - begun) } }
            rows.append(Row(step: one.step, state: one.step == current ? .current : .passed, seconds: seconds))
        }
        if [.rollingBack, .rolledBack, .failed].contains(current),
            let broken = rows.lastIndex(where: { $0.step != .rollingBack })
        {
            rows[broken].state = .broken
            return rows
        }
        guard !current.isEnd else { return rows }
        return rows
            + Self.usual(last.strategy).filter { Self.isBefore(current, $0) }.map { Row(step: $0, state: .upcoming) }
    }

    /// Shifting and observing take turns.
    static func row(of step: MigrationStep) -> MigrationStep { step == .observing ? .shifting : step }

    /// Those that come unless something is asked for.
    private static func usual(_ strategy: MigrationSettings.Strategy) -> [MigrationStep] {
        switch strategy {
        case .blueGreen: [.preparing, .starting, .verifying, .canary, .shifting, .draining, .warm, .retiring]
        case .rolling: [.preparing, .starting, .verifying, .canary, .shifting, .draining, .retiring]
        case .recreate: [.preparing, .emptying, .starting, .verifying, .canary, .shifting, .draining, .retiring]
        }
    }

    private static func isBefore(_ lhs: MigrationStep, _ rhs: MigrationStep) -> Bool {
        let order = MigrationStep.allCases
        return (order.firstIndex(of: lhs) ?? 0) < (order.firstIndex(of: rhs) ?? 0)
    }
}
