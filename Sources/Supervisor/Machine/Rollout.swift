/// Replicas that are changed one after another while the deployment serves: each is ready before the next one is touched.
///
/// It only keeps the place; the deployment's machine does the work.
struct Rollout: Sendable, Equatable {
    enum Step: Sendable, Hashable {
        /// A new process in the place of the old one.
        case replace(Int)

        var replica: Int {
            switch self {
            case .replace(let replica): replica
            }
        }
    }

    /// How far the step is that is being done.
    enum Stage: Sendable, Hashable {
        /// The public port sends the replica nothing new, and it answers what it has.
        case draining
        /// The process that was there is being ended, or the new one is on its way; `run` is the number of the old one.
        case changing(run: Int)
    }

    private(set) var steps: [Step]
    private(set) var current: Step?
    var stage: Stage = .draining

    init(_ steps: [Step]) { self.steps = steps.reversed() }

    /// Goes on to the next step.
    ///
    /// - Returns: nil when all are done.
    mutating func next() -> Step? {
        self.current = self.steps.popLast()
        return self.current
    }
}

/// What is said of a rollout while it is under way.
package struct RolloutProgress: Sendable, Hashable, Codable {
    package enum Phase: String, Sendable, Hashable, Codable {
        /// Gets no new requests and answers those that it has.
        case draining
        /// The old process is being ended; a new one follows.
        case restarting
        case ready
        /// All of it is done.
        case done
        /// It ended before it was done; what was not reached is as it was.
        case failed
    }

    /// Nil for what concerns all.
    package var replica: String?
    package var phase: Phase
    /// Why, for `failed`.
    package var reason: String?

    package init(replica: String? = nil, _ phase: Phase, reason: String? = nil) {
        self.replica = replica
        self.phase = phase
        self.reason = reason
    }
}
