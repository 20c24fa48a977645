internal import Deployment

/// Replicas that are changed one after another while the deployment serves: each is ready before the next one is touched.
///
/// It only keeps the place; the deployment's machine does the work. What was done to make the deployment match another plan is undone, step by
/// step, when one of the steps fails.
struct Rollout: Sendable, Equatable {
    enum Step: Sendable, Hashable {
        /// A new process in the place of the old one; by another plan, if there is one.
        case replace(String, with: ReplicaPlan?)
        case add(ReplicaPlan)
        case remove(String)
        /// Ended, until a person starts it.
        case stop(String)
        case start(String)
        /// As a person had left it, by this plan: without a process.
        case shelve(ReplicaPlan)

        var replica: String {
            switch self {
            case .replace(let name, _), .remove(let name), .stop(let name), .start(let name): name
            case .add(let plan), .shelve(let plan): plan.name
            }
        }
    }

    /// How far the step is that is being done.
    enum Stage: Sendable, Hashable {
        /// The public port sends the replica nothing new, and it answers what it has.
        case draining
        /// The process that was there is being ended, or the new one is on its way; `run` is the number of the old one.
        case changing(run: Int)
        /// The new process is ready, and those that send requests may not know it yet.
        case confirming(run: Int)
        /// All steps are done, and whether the new processes last is being watched; their numbers by replica.
        case watching(runs: [String: Int])

        /// The number of the process that was there, or of the one that is ready.
        var run: Int? {
            switch self {
            case .draining, .watching: nil
            case .changing(let run), .confirming(let run): run
            }
        }
    }

    /// Those to come, the next one last.
    private var steps: [Step]
    private(set) var current: Step?
    var stage: Stage = .draining
    /// Replicas that have got a process by the new plan, which was ready.
    private(set) var renewed: Set<String> = []
    /// How often those were looked at before the change counted as done.
    var watches = 0
    /// Why it is to be taken back as soon as the current step lets it.
    var fault: String?
    /// What takes back what was done, the latest first to be done.
    private var undo: [Step] = []
    /// What the whole is for; nil when processes are only started anew.
    let target: Plan?
    /// What ran before, when that can come back.
    private let origin: Plan?
    /// Why the steps are being taken back.
    private(set) var failure: String?

    /// What a person wants of replicas, by the same plan.
    init(_ order: ProcessOrder, _ replicas: [String]) {
        self.steps = replicas.reversed().map { name in
            switch order {
            case .restart: .replace(name, with: nil)
            case .stop: .stop(name)
            case .start: .start(name)
            }
        }
        self.target = nil
        self.origin = nil
    }

    /// The way from one plan to another.
    ///
    /// Frontends come last: they are ready when workers are there, of a model that may be new. What goes makes room for what comes, and what is
    /// new comes before those that depend on it.
    init(from old: Plan, to new: Plan) {
        let change = PlanChange(from: old, to: new)
        let (added, changed) = (Set(change.added.map(\.name)), Set(change.changed.map(\.name)))
        let levels = DeploymentTimes.levels(of: new.replicas)
        let ordered = zip(new.replicas, levels).enumerated().sorted { first, second in
            (first.element.1, first.offset) < (second.element.1, second.offset)
        }.map(\.element.0)
        let late = Self.dependents(of: Set(ordered.filter { added.contains($0.name) }.map(\.process)), in: new.replicas)
        func steps(_ isWanted: (ReplicaPlan) -> Bool) -> [Step] {
            ordered.filter(isWanted).compactMap { replica in
                if added.contains(replica.name) { return .add(replica) }
                return changed.contains(replica.name) ? .replace(replica.name, with: replica) : nil
            }
        }
        let removed = old.replicas.filter { replica in change.removed.contains { $0.name == replica.name } }.reversed()
        func removals(_ isWanted: (ReplicaPlan) -> Bool) -> [Step] {
            removed.filter(isWanted).map { .remove($0.name) }
        }
        let isFrontend = { (replica: ReplicaPlan) in replica.role == .frontend }
        let frontends = steps(isFrontend)
        // Behind a gateway one may go when another has come; otherwise both would want the same port.
        let frontendsThatGo = removals(isFrontend)
        let all =
            steps { !isFrontend($0) && !late.contains($0.process) && !added.contains($0.name) }
            + removals { !isFrontend($0) }
            + steps { !isFrontend($0) && (late.contains($0.process) || added.contains($0.name)) }
            + (new.gateway == nil ? frontendsThatGo + frontends : frontends + frontendsThatGo)
        self.steps = all.reversed()
        self.target = new
        self.origin = old
    }

    /// Processes that wait for one of these, directly or not.
    static func dependents(of processes: Set<String>, in replicas: [ReplicaPlan]) -> Set<String> {
        var found: Set<String> = []
        var isGrowing = true
        while isGrowing {
            let more = replicas.filter { replica in
                !found.contains(replica.process)
                    && replica.dependencies.contains {
                        $0.process != replica.process
                            && (processes.contains($0.process) || found.contains($0.process))
                    }
            }
            isGrowing = !more.isEmpty
            found.formUnion(more.map(\.process))
        }
        return found
    }

    /// Whether any step starts a process.
    var startsProcesses: Bool {
        self.steps.contains { step in
            switch step {
            case .replace, .add, .start: true
            case .remove, .stop, .shelve: false
            }
        }
    }

    /// Goes on to the next step.
    ///
    /// - Returns: nil when all are done.
    mutating func next() -> Step? {
        self.current = self.steps.popLast()
        return self.current
    }

    /// The current step is begun; `inverse` takes it back.
    mutating func began(inverse: Step) { self.undo.append(inverse) }

    /// The current step has brought a process that is ready.
    mutating func hasRenewed(_ replica: String) { if self.target != nil { self.renewed.insert(replica) } }

    /// Whether the current step can only be undone later: it is not begun before the public port has let go, and what is being removed can
    /// only be started again when it is gone.
    var mustFinishStep: Bool {
        switch (self.stage, self.current) {
        case (.draining, _), (.changing, .remove): true
        default: false
        }
    }

    /// What the way back will do with a replica when its turn comes.
    enum Turn: Sendable, Equatable {
        /// It gets what it had before.
        case back(ReplicaPlan)
        /// It is to go.
        case away
    }

    /// Takes the turn of a replica on the way back, which is only waited for from then on.
    ///
    /// - Returns: nil when it has none to come.
    mutating func takeTurn(of replica: String) -> Turn? {
        guard self.failure != nil, let index = self.steps.firstIndex(where: { $0.replica == replica }) else {
            return nil
        }
        switch self.steps[index] {
        case .replace(_, with: let plan?):
            self.steps[index] = .start(replica)
            return .back(plan)
        case .remove, .stop, .shelve:
            return .away
        case .replace, .add, .start:
            return nil
        }
    }

    /// Whether what was done can be taken back.
    var canGoBack: Bool { self.origin != nil && self.failure == nil }

    /// The same way back, when it can be gone back.
    ///
    /// - Parameters:
    ///   - reason: why.
    ///   - fallen: replicas that were renewed and are not ready: before others, because these may wait for them; only what they need themselves, and what makes room, comes before.
    /// - Returns: nil when nothing can be taken back: a restart, or a step back that failed too.
    func reverted(_ reason: String, fallen: Set<String>) -> Rollout? {
        guard let origin, self.failure == nil else { return nil }
        let fallenProcesses = Set(origin.replicas.filter { fallen.contains($0.name) }.map(\.process))
        let needed = Self.dependencies(of: fallenProcesses, in: origin.replicas)
        let frontends = Set(self.target?.replicas.filter { $0.role == .frontend }.map(\.name) ?? [])
        let hasGateway = origin.gateway != nil
        func rank(_ step: Step) -> Int {
            switch step {
            // Behind a gateway one may go when another has come.
            case .remove(let name) where hasGateway && frontends.contains(name): 4
            // It may be in the way of what comes back, and nothing of before needs it.
            case .remove: 0
            case .add(let plan) where needed.contains(plan.process): 1
            default: fallen.contains(step.replica) ? 2 : 3
            }
        }
        // Otherwise the latest first; but what has fallen in the order in which it was changed: some of it may wait for the rest.
        let order = self.undo.reversed().enumerated().sorted { first, second in
            func place(_ step: (offset: Int, element: Step)) -> (Int, Int) {
                let rank = rank(step.element)
                return (rank, rank == 2 ? -step.offset : step.offset)
            }
            return place(first) < place(second)
        }
        return Rollout(undoing: order.map(\.element).reversed(), to: origin, because: reason)
    }

    /// Processes that these wait for, directly or not.
    private static func dependencies(of processes: Set<String>, in replicas: [ReplicaPlan]) -> Set<String> {
        var found: Set<String> = []
        var open = processes
        while !open.isEmpty {
            let next = Set(replicas.filter { open.contains($0.process) }.flatMap(\.dependencies).map(\.process))
            open = next.subtracting(found)
            found.formUnion(next)
        }
        return found
    }

    private init(undoing steps: [Step], to origin: Plan, because reason: String) {
        self.steps = steps
        self.target = origin
        self.origin = nil
        self.failure = reason
    }
}

/// What a person may want of single processes.
package enum ProcessOrder: String, Sendable, Hashable, CaseIterable {
    /// New processes, each ready before the next one.
    case restart
    /// No process, until it is started by a person.
    case stop
    case start
}

/// What is said of a rollout while it is under way.
package struct RolloutProgress: Sendable, Hashable, Codable {
    package enum Phase: String, Sendable, Hashable, Codable {
        /// Gets no new requests and answers those that it has.
        case draining
        /// The old process is being ended; a new one follows.
        case restarting
        case starting
        case removing
        case stopping
        case ready
        case removed
        case stopped
        /// A step failed; what was done is taken back.
        case reverting
        /// All of it is done.
        case done
        /// It ended before it was done.
        case failed
    }

    /// Nil for what concerns all.
    package var replica: String?
    package var phase: Phase
    /// Why, for `reverting` and `failed`.
    package var reason: String?
    /// The replica that `reason` is about, when it is one.
    package var cause: String?
    /// The last lines that it wrote, in its last run.
    package var lastLines: [String]?
    /// The file of its log.
    package var logFile: String?

    package init(replica: String? = nil, _ phase: Phase, reason: String? = nil, cause: String? = nil) {
        self.replica = replica
        self.phase = phase
        self.reason = reason
        self.cause = cause
    }
}
