internal import Deployment

/// Somebody who wants processes to be started anew.
struct RestartRequest: Sendable {
    /// Processes or replicas, as they were asked for.
    var names: [String]
    var reply: @Sendable (Result<AsyncStream<RolloutProgress>, RolloutRefusal>) -> Void
}

/// Somebody who wants the deployment to match another plan.
struct ApplyRequest: Sendable {
    var plan: Plan
    /// Only says what would be done.
    var isDryRun: Bool
    /// Without a progress nothing is done.
    var reply: @Sendable (Result<(PlanChange, AsyncStream<RolloutProgress>?), RolloutRefusal>) -> Void
}

/// Why a change of what runs was not begun.
package struct RolloutRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Cause: Sendable, Hashable {
        case unknownProcess
        /// Something else has to end first, or it cannot be done while the deployment runs.
        case conflict
        /// The manifest has errors.
        case badManifest
    }

    package var cause: Cause
    package var description: String

    static let underWay = Self(
        cause: .conflict,
        description:
            "another restart or change is under way; ask again when it is done ('dynamo-launch status' shows the processes)"
    )
    static let stopping = Self(cause: .conflict, description: "the deployment is being stopped")
}

/// Changing what runs while it serves.
extension SupervisorLoop {
    func restart(_ request: RestartRequest, in group: inout DiscardingTaskGroup) {
        let replicas: [String]
        do throws(RolloutRefusal) { replicas = try self.replicas(named: request.names) } catch {
            return request.reply(.failure(error))
        }
        if self.rolloutWatcher != nil {
            return request.reply(.failure(.underWay))
        }
        if self.machine.isStopping { return request.reply(.failure(.stopping)) }
        let (progress, watcher) = AsyncStream.makeStream(of: RolloutProgress.self)
        self.rolloutWatcher = watcher
        request.reply(.success(progress))
        self.feed(.rolloutRequested(Rollout(restarting: replicas)), in: &group)
    }

    func apply(_ request: ApplyRequest, in group: inout DiscardingTaskGroup) {
        let current = self.machine.activePlan
        let plan = PlanChange.naming(request.plan, after: current)
        let change = PlanChange(from: current, to: plan)
        if self.rolloutWatcher != nil { return request.reply(.failure(.underWay)) }
        if self.machine.isStopping { return request.reply(.failure(.stopping)) }
        guard change.refusals.isEmpty else {
            let reasons = change.refusals.joined(separator: "\n")
            let text = "\(reasons)\nnothing was changed; stop the deployment and start it again for that"
            return request.reply(.failure(RolloutRefusal(cause: .conflict, description: text)))
        }
        let added = plan.replicas.filter { replica in change.added.contains { $0.name == replica.name } }
        for replica in self.machine.replicas
        where replica.isRetired && added.contains(where: { $0.name == replica.plan.name }) {
            guard let survivor = replica.survivor else { continue }
            let text =
                "not even SIGKILL ended the process that \(replica.plan.name) had before (\(survivor)); nothing was changed"
            return request.reply(.failure(RolloutRefusal(cause: .conflict, description: text)))
        }
        // What is stopped or started anew first gives its ports back.
        let given = Set((change.removed + change.changed).map(\.name))
        let back = Set(current.replicas.filter { given.contains($0.name) }.flatMap(\.ports).map(\.port))
        let taken = self.takenPorts(
            of: added.map { replica in
                var replica = replica
                replica.ports.removeAll { back.contains($0.port) }
                return replica
            }
        )
        guard taken.isEmpty else {
            let text = "\(taken.joined(separator: "\n"))\nnothing was changed"
            return request.reply(.failure(RolloutRefusal(cause: .conflict, description: text)))
        }
        if request.isDryRun || change.isEmpty { return request.reply(.success((change, nil))) }
        let (progress, watcher) = AsyncStream.makeStream(of: RolloutProgress.self)
        self.rolloutWatcher = watcher
        request.reply(.success((change, progress)))
        self.isApplying = true
        self.feed(.rolloutRequested(Rollout(from: current, to: plan)), in: &group)
    }

    /// In the order in which they are restarted, each once.
    private func replicas(named names: [String]) throws(RolloutRefusal) -> [String] {
        let known = self.machine.activePlan.replicas
        for name in names where !known.contains(where: { $0.process == name || $0.name == name }) {
            throw RolloutRefusal(
                cause: .unknownProcess,
                description: UnknownProcess.words(name, among: known.flatMap { [$0.process, $0.name] })
            )
        }
        let wanted = known.filter { names.contains($0.process) || names.contains($0.name) }
        // Frontends last: they are ready when workers are there.
        return (wanted.filter { $0.role != .frontend } + wanted.filter { $0.role == .frontend }).map(\.name)
    }

    func release(_ name: String, in group: inout DiscardingTaskGroup) {
        let (sender, port) = (self.sender, self.publicPort)
        group.addTask {
            await port?.release(name)
            sender.yield(.released(name))
        }
    }

    func closePublicPort(in group: inout DiscardingTaskGroup) {
        let (sender, port) = (self.sender, self.publicPort)
        group.addTask {
            await port?.close()
            sender.yield(.publicPortClosed)
        }
    }

    func progress(_ progress: RolloutProgress) {
        self.sharePlan()
        if progress.phase == .reverting, let reason = progress.reason {
            self.notices(.warning("\(reason); taking back what was changed"))
        }
        self.rolloutWatcher?.yield(progress)
    }

    /// Those who only look see the plan as it is now.
    func sharePlan() { self.shared.set(slots: self.machine.plan, active: self.machine.activePlan) }

    /// What is new gets a log before anything is said of it.
    func introduceAdded() {
        for replica in self.machine.plan.replicas.dropFirst(self.introduced) {
            self.pump.add(
                LogPump.Replica(process: replica.process, name: replica.name, logFile: self.plan.logFile(of: replica))
            )
            self.introduced += 1
        }
    }

    func rolloutEnded(_ reason: String?) {
        self.sharePlan()
        if !self.machine.isStopping { self.held.keep(self.machine.activePlan.replicas.flatMap(\.listens)) }
        if self.isApplying { self.notices(.changeEnded(reason)) }
        self.isApplying = false
        self.rolloutWatcher?.yield(RolloutProgress(reason == nil ? .done : .failed, reason: reason))
        self.rolloutWatcher?.finish()
        self.rolloutWatcher = nil
    }
}

/// Words for a process that is not there.
enum UnknownProcess {
    static func words(_ name: String, among known: [String]) -> String {
        let hint = Spelling.nearest(to: name, among: known).map { "; did you mean '\($0)'?" }
        return "there is no process '\(name)'"
            + (hint ?? "; there are: \(Set(known).sorted().joined(separator: ", "))")
    }
}
