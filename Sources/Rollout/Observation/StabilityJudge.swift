/// Says whether the processes of a new generation stay up while it is watched.
struct StabilityJudge: Sendable {
    enum Verdict: Sendable, Hashable {
        case fine
        /// One is not ready; it may become so again.
        case unready(String)
        case broken(String)
    }

    /// One end may be an accident, from which the process recovers under the old generation's protection; a second one is a habit.
    static let allowedRestarts = 1

    /// How often each had been started again before.
    private let before: [String: Int]

    /// - Parameter conditions: when watching begins.
    init(_ conditions: [ProcessCondition]) {
        self.before = Dictionary(conditions.map { ($0.name, $0.restarts) }, uniquingKeysWith: { $1 })
    }

    func verdict(_ conditions: [ProcessCondition]) -> Verdict {
        for process in conditions {
            let restarts = process.restarts - self.before[process.name, default: 0]
            guard restarts > Self.allowedRestarts else { continue }
            return .broken("\(process.name) was started again \(restarts) times while it was watched: \(process.words)")
        }
        guard let unready = conditions.first(where: { !$0.isReady }) else { return .fine }
        return .unready("\(unready.name) is not ready: \(unready.words)")
    }
}
