import Deployment
import Supervisor
import Systemd

/// What the service manager is told, as a value: notices and beats go in, the words for it come out.
struct ServiceStatus: Sendable {
    typealias Instant = ContinuousClock.Instant

    private enum Phase: Sendable, Equatable { case starting, ready, degraded, stopping, failed }

    private struct Replica: Sendable {
        var state = ReplicaStatus.State.waiting
        /// Of this run.
        var startedAt: Instant?
        var starts = 0
        var layer: ReadinessLayer?
        /// What the process itself says that it does.
        var activity: String?
        /// Until when the manifest gives it time; nil: nobody waits for it, or for ever if it `isUnlimited`.
        var patience: Instant?
        var isUnlimited = false

        /// A run began: it has its startup timeout, unless it was started more often than its policy says.
        mutating func started(at now: Instant, limit: Double?, slack: Duration, most: Int) {
            self.starts += 1
            self.startedAt = now
            self.layer = nil
            self.activity = nil
            guard self.starts <= most else { return self.stopWaiting() }
            self.isUnlimited = limit == nil
            self.patience = limit.map { now + .seconds($0) + slack }
        }

        mutating func stopWaiting() {
            self.isUnlimited = false
            self.patience = nil
        }
    }

    private var plan: Plan
    /// The deployment is on its way to another plan.
    private var isChanging = false
    private let verificationTimeout: Duration
    private let hasWatchdog: Bool
    private var phase = Phase.starting
    private var replicas: [String: Replica] = [:]
    private var degraded: [String] = []
    /// When the last replica became ready: then discovery is compared with the plan.
    private var verifyingSince: Instant?
    private var lastStatus = ""
    /// Why the deployment is stopped, when it is the launcher's own wish.
    var stopReason: String?

    /// How long one beat asks for; a loop that is stuck for longer is given up.
    static let patienceOfBeat = Duration.seconds(60)
    /// Beyond the manifest's limits: for starting, ending and looking.
    private static let slack = Duration.seconds(15)
    /// Restarts that are waited for when the manifest never gives up.
    private static let countedRestarts = 5

    /// Creates the status of a deployment that was not started yet.
    ///
    /// - Parameters:
    ///   - plan: what is to run.
    ///   - verificationTimeout: how long the comparison with discovery may take.
    ///   - hasWatchdog: whether each beat is also a sign of life.
    init(plan: Plan, verificationTimeout: Duration, hasWatchdog: Bool) {
        self.plan = plan
        self.verificationTimeout = verificationTimeout
        self.hasWatchdog = hasWatchdog
        self.take(plan)
    }

    private mutating func take(_ plan: Plan) {
        self.plan = plan
        let before = self.replicas
        self.replicas = Dictionary(plan.replicas.map { ($0.name, before[$0.name] ?? Replica()) }) { first, _ in first }
    }

    // MARK: Inputs

    /// Another generation, all of which is ready, has taken the place of the one before.
    ///
    /// - Parameters:
    ///   - plan: what runs.
    ///   - now: when.
    /// - Returns: what to send, in one message.
    mutating func replaced(by plan: Plan, at now: Instant) -> [ServiceNotifier.State] {
        self.replicas = [:]
        self.take(plan)
        for name in self.replicas.keys { self.replicas[name]?.state = .ready }
        if self.phase == .degraded { self.phase = .ready }
        return self.changedStatus(at: now)
    }

    /// Something happened.
    ///
    /// - Parameters:
    ///   - notice: what.
    ///   - now: when.
    /// - Returns: what to send, in one message; nothing is sent when it is empty.
    mutating func happened(_ notice: SupervisorNotice, at now: Instant) -> [ServiceNotifier.State] {
        switch notice {
        case .started(let name, _), .adopted(let name, _, _):
            let (limit, most) = (self.limit(of: name), self.most(name))
            self.replicas[name]?.started(at: now, limit: limit, slack: Self.slack, most: most)
        case .layerReached(let name, let layer, _):
            self.replicas[name]?.layer = layer
        case .said(let name, let text):
            self.replicas[name]?.activity = text
        case .replicaState(let name, let state, _):
            self.replicas[name]?.state = state
            if state == .ready { self.replicas[name]?.stopWaiting() }
            if self.readyCount == self.plan.replicas.count { self.verifyingSince = self.verifyingSince ?? now }
        case .restarting(let name, _, let delay, _, _):
            self.replicas[name]?.patience = now + .seconds(delay) + Self.slack
        case .ready:
            guard self.phase == .starting else { return [] }
            self.phase = .ready
            return [.ready] + self.changedStatus(at: now)
        case .planChanged(let plan, _):
            self.take(plan)
            let isNew = !self.isChanging && (self.phase == .ready || self.phase == .degraded)
            self.isChanging = self.isChanging || isNew
            return (isNew ? [.reloading] : []) + self.changedStatus(at: now)
        case .changeEnded:
            guard self.isChanging else { return [] }
            self.isChanging = false
            // A deployment that is being stopped has said so, and is not ready again.
            guard self.phase == .ready || self.phase == .degraded else { return [] }
            return [.ready] + self.changedStatus(at: now)
        case .recovered:
            guard self.phase == .degraded else { return [] }
            self.phase = .ready
        case .degraded(let names):
            guard self.phase == .ready || self.phase == .degraded else { return [] }
            self.phase = .degraded
            self.degraded = names
        case .failed(let reason):
            self.phase = .failed
            self.lastStatus = reason
            return [.status(reason)]
        case .stopping:
            let time = ServiceNotifier.State.extendTimeout(.seconds(DeploymentTimes(self.plan).stop) + Self.slack)
            // The reason of a failure is what people look for; it stays.
            if self.phase == .failed { return [.stopping, time] }
            guard self.phase != .stopping else { return [] }
            self.phase = .stopping
            return [.stopping] + self.changedStatus(at: now) + [time]
        case .stuck, .holding, .replicaPlanned, .portsRenewed, .planUnchanged, .ended, .exited, .firstExit, .warning,
            .serviceLost, .serviceBack, .signalled:
            break
        }
        return self.changedStatus(at: now)
    }

    /// The supervisor's loop has come round.
    ///
    /// - Parameter now: when.
    /// - Returns: what to send, in one message.
    mutating func beat(at now: Instant) -> [ServiceNotifier.State] {
        var states: [ServiceNotifier.State] = self.hasWatchdog ? [.watchdog] : []
        // A change ends by the limits of the manifest, or is taken back.
        if self.isChanging || self.phase == .starting && self.isOnItsWay(at: now) {
            states.append(.extendTimeout(Self.patienceOfBeat))
        }
        return states + self.changedStatus(at: now)
    }

    /// The deployment has ended.
    ///
    /// - Parameter outcome: how.
    /// - Returns: what to send, in one message.
    func ended(_ outcome: SupervisorOutcome) -> [ServiceNotifier.State] {
        guard outcome.exitCode != 0 else { return [.status("stopped" + self.because)] }
        let reason = outcome.failure?.message ?? "ended with \(outcome.exitCode) (\(outcome.reason.rawValue))"
        return [.status(reason), .exitStatus(outcome.exitCode)]
    }

    // MARK: Time

    /// Whether the manifest still gives somebody time to become ready.
    ///
    /// Each start of a replica gives it its startup timeout, and there are no more starts than its restart policy has: the sum
    /// is finite unless the manifest says that there is no limit.
    private func isOnItsWay(at now: Instant) -> Bool {
        if let verifyingSince, self.readyCount == self.plan.replicas.count {
            return now < verifyingSince + self.verificationTimeout + Self.slack
        }
        // Nothing was started yet.
        if self.replicas.values.allSatisfy({ $0.starts == 0 }) { return true }
        return self.replicas.values.contains { $0.isUnlimited || $0.patience.map { now < $0 } ?? false }
    }

    private func limit(of name: String) -> Double? {
        self.plan.replicas.first { $0.name == name }?.timing.startupTimeout
    }

    private func most(_ name: String) -> Int {
        let policy = self.plan.replicas.first { $0.name == name }?.restart
        return 1 + (policy?.maximumRestarts ?? Self.countedRestarts)
    }

    // MARK: Words

    private var readyCount: Int { self.replicas.values.count { $0.state == .ready } }

    private mutating func changedStatus(at now: Instant) -> [ServiceNotifier.State] {
        let status = self.status(at: now)
        guard status != self.lastStatus else { return [] }
        self.lastStatus = status
        return [.status(status)]
    }

    private func status(at now: Instant) -> String {
        if self.isChanging, self.phase == .ready || self.phase == .degraded {
            return "applying a changed manifest: \(self.readyCount) of \(self.plan.replicas.count) ready"
        }
        return switch self.phase {
        case .starting: self.startingStatus(at: now)
        case .ready: "ready: \(self.plan.publicURL)"
        case .degraded: "degraded: \(self.degraded.joined(separator: ", ")) not ready"
        case .stopping: "stopping" + self.because
        case .failed: self.lastStatus
        }
    }

    private var because: String { self.stopReason.map { ": \($0)" } ?? "" }

    /// For example `2 of 3 ready: worker-0 loading model, 41 s`.
    private func startingStatus(at now: Instant) -> String {
        let total = self.plan.replicas.count
        let head = "\(self.readyCount) of \(total) ready"
        let late = self.plan.replicas.filter { self.replicas[$0.name]?.state != .ready }
        guard !late.isEmpty else { return "\(head): comparing discovery with the plan" }
        guard let shown = late.first(where: { self.replicas[$0.name]?.startedAt != nil }),
            let replica = self.replicas[shown.name], let startedAt = replica.startedAt
        else { return head }
        let more = late.count > 1 ? "; \(late.count - 1) more" : ""
        let seconds = Int((now - startedAt) / .seconds(1))
        return "\(head): \(shown.name) \(self.activity(of: shown, replica)), \(seconds) s\(more)"
    }

    private func activity(of plan: ReplicaPlan, _ replica: Replica) -> String {
        switch replica.state {
        case .backingOff: return "waiting for its restart"
        case .unready, .restarting, .stopping, .stopped, .failed: return replica.state.rawValue
        case .waiting, .starting, .ready: break
        }
        if let activity = replica.activity, !activity.isEmpty { return activity }
        let next = plan.readiness.map(\.layer).first { layer in replica.layer.map { layer > $0 } ?? true }
        switch next {
        case .alive, nil: return "starting"
        case .port: return "opening its port"
        case .live: return "coming up"
        case .health: return plan.role == .worker ? "loading model" : "coming up"
        case .modelListed: return "waiting for the model to be listed"
        case .modelReady: return "waiting for the model to be ready"
        case .serving: return "answering its first request"
        }
    }
}
