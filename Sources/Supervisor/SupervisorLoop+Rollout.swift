internal import Deployment

/// Somebody who wants something of single processes.
struct OrderRequest: Sendable {
    var order: ProcessOrder
    /// Processes or replicas, as they were asked for.
    var names: [String]
    /// Only says what would be done.
    var isDryRun: Bool
    /// Without a progress nothing is done.
    var reply: @Sendable (Result<(OrderOutline, AsyncStream<RolloutProgress>?), RolloutRefusal>) -> Void
}

/// What comes of an order.
package struct OrderOutline: Sendable, Hashable, Codable {
    /// The replicas that are restarted, stopped or started, in this order.
    package var replicas: [String]
    /// Those that depend on them, directly or not: they go on as they are.
    package var dependents: [String]

    package init(replicas: [String], dependents: [String]) {
        self.replicas = replicas
        self.dependents = dependents
    }
}

/// Somebody who wants processes to get a signal.
struct SignalRequest: Sendable {
    var signal: Int32
    var names: [String]
    /// Only says who would get it.
    var isDryRun: Bool
    /// The replicas that got it, and those that have no process.
    var reply: @Sendable (Result<SignalReport, RolloutRefusal>) -> Void
}

/// Who got a signal.
package struct SignalReport: Sendable, Hashable, Codable {
    /// The process that got it, of each replica that has one.
    package var pids: [String: Int32]
    /// Replicas that have no process.
    package var idle: [String]
    /// Those that depend on them, directly or not: they go on as they are.
    package var dependents: [String]
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
    package static let stopping = Self(cause: .conflict, description: "the deployment is being stopped")
    package static let migrating = Self(
        cause: .conflict,
        description:
            "a migration is under way; ask again when it is done ('dynamo-launch migrate status' shows it), or take it back first "
            + "('dynamo-launch migrate abort')"
    )
}

/// Changing what runs while it serves.
extension SupervisorLoop {
    func obey(_ request: OrderRequest, in group: inout DiscardingTaskGroup) {
        let outline: OrderOutline
        do throws(RolloutRefusal) { outline = try self.outline(of: request.order, request.names) } catch {
            return request.reply(.failure(error))
        }
        if request.isDryRun { return request.reply(.success((outline, nil))) }
        let (progress, watcher) = AsyncStream.makeStream(of: RolloutProgress.self)
        self.rolloutWatcher = watcher
        request.reply(.success((outline, progress)))
        self.feed(.rolloutRequested(Rollout(request.order, outline.replicas)), in: &group)
    }

    private func outline(of order: ProcessOrder, _ names: [String]) throws(RolloutRefusal) -> OrderOutline {
        var replicas = try self.replicas(named: names)
        if self.rolloutWatcher != nil { throw .underWay }
        if self.machine.isStopping { throw .stopping }
        if order != .restart {
            // What a person had stopped under an earlier launcher may be what the start waits for.
            guard order == .start || self.machine.phase == .ready || self.machine.phase == .degraded else {
                throw RolloutRefusal(
                    cause: .conflict,
                    description:
                        "the deployment is being started; ask again when it serves ('dynamo-launch status --wait')"
                )
            }
            let halted = Set(self.machine.replicas.filter { $0.isHalted && !$0.isRetired }.map(\.plan.name))
            replicas.removeAll { halted.contains($0) != (order == .start) }
            // Each before those that wait for it.
            if order == .start {
                let plans = self.machine.activePlan.replicas
                replicas = plans.map(\.name).filter(replicas.contains)
            }
            guard !replicas.isEmpty else {
                let words = names.joined(separator: ", ")
                throw RolloutRefusal(
                    cause: .conflict,
                    description: order == .start
                        ? "\(words): not stopped, so there is nothing to start; a new process comes with "
                            + "'dynamo-launch restart'" : "\(words): stopped already"
                )
            }
        }
        // What others may need goes last.
        if order == .stop { replicas.reverse() }
        let plans = self.machine.activePlan.replicas
        if order != .stop {
            let wanted = replicas.compactMap { name in plans.first { $0.name == name } }
            if let reason = self.hindrance(to: wanted) {
                throw RolloutRefusal(cause: .conflict, description: reason)
            }
        }
        return OrderOutline(replicas: replicas, dependents: self.dependents(of: replicas))
    }

    /// Other replicas that wait for these, directly or not.
    private func dependents(of replicas: [String]) -> [String] {
        let plans = self.machine.activePlan.replicas
        let processes = Set(plans.filter { replicas.contains($0.name) }.map(\.process))
        let dependents = Rollout.dependents(of: processes, in: plans)
        return plans.filter { dependents.contains($0.process) && !replicas.contains($0.name) }.map(\.name)
    }

    /// Why replicas that get a new process, in this order, would never have one.
    private func hindrance(to replicas: [ReplicaPlan]) -> String? {
        var halted = self.machine.replicas.filter { $0.isHalted && !$0.isRetired }.map(\.plan)
        for replica in replicas {
            let known = self.machine.replicas.first { $0.plan.name == replica.name && !$0.isRetired }
            if let survivor = known?.survivor {
                return
                    "not even SIGKILL ended the process that \(replica.name) had before (\(survivor)); nothing was changed"
            }
            halted.removeAll { $0.name == replica.name }
            if let needed = halted.first(where: { stopped in
                replica.dependencies.contains { $0.process == stopped.process && $0.process != replica.process }
            }) {
                return "\(replica.name) waits for \(needed.name), which a person has stopped; start that first: "
                    + "dynamo-launch start \(needed.name)"
            }
        }
        return nil
    }

    func send(_ request: SignalRequest) {
        do throws(RolloutRefusal) {
            let names = try self.replicas(named: request.names)
            var report = SignalReport(pids: [:], idle: [], dependents: self.dependents(of: names))
            for name in names {
                guard let index = self.machine.replicas.firstIndex(where: { $0.plan.name == name && !$0.isRetired }),
                    let launch = self.launchOfReplica[index], let pid = self.pids[launch]
                else {
                    report.idle.append(name)
                    continue
                }
                if !request.isDryRun {
                    self.keeper.signal(launch, request.signal)
                    let signal = ProcessSignal.name(of: request.signal)
                    self.notices(.signalled(replica: name, pid: pid, signal: signal))
                }
                report.pids[name] = pid
            }
            request.reply(.success(report))
        } catch {
            request.reply(.failure(error))
        }
    }

    func apply(_ request: ApplyRequest, in group: inout DiscardingTaskGroup) {
        let current = self.machine.activePlan
        let plan = PlanChange.naming(request.plan, after: current)
        let change = PlanChange(from: current, to: plan)
        if self.rolloutWatcher != nil { return request.reply(.failure(.underWay)) }
        if self.machine.isStopping { return request.reply(.failure(.stopping)) }
        var refusals = change.refusals
        if current.survive, !plan.survive {
            refusals.append("survive cannot be turned off while the deployment runs: the next launcher reads it")
        }
        guard refusals.isEmpty else {
            let reasons = refusals.joined(separator: "\n")
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
        let back = Set(current.replicas.filter { given.contains($0.name) }.flatMap(\.ports).flatMap(\.numbers))
        let taken = self.takenPorts(of: added, freeing: back)
        guard taken.isEmpty || self.canRenew(taken) else {
            let text = "\(taken.map(\.words).joined(separator: "\n"))\nnothing was changed"
            return request.reply(.failure(RolloutRefusal(cause: .conflict, description: text)))
        }
        let renewed = Set((change.changed + change.added).map(\.name))
        if let reason = self.hindrance(to: plan.replicas.filter { renewed.contains($0.name) }) {
            return request.reply(
                .failure(RolloutRefusal(cause: .conflict, description: "\(reason)\nnothing was changed"))
            )
        }
        if request.isDryRun { return request.reply(.success((change, nil))) }
        if change.isEmpty {
            self.notices(.planUnchanged)
            return request.reply(.success((change, nil)))
        }
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
        self.rolloutWatcher?.yield(self.quoted(progress))
    }

    /// With what the replica at fault wrote last.
    private func quoted(_ progress: RolloutProgress) -> RolloutProgress {
        guard let cause = progress.cause, let index = self.machine.replicas.lastIndex(where: { $0.plan.name == cause })
        else { return progress }
        var progress = progress
        progress.logFile = self.plan.logFile(of: self.machine.replicas[index].plan)
        progress.lastLines = self.lastLines(of: index, 5)
        return progress
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

    func rolloutEnded(_ reason: String?, cause: String?, in group: inout DiscardingTaskGroup) {
        self.sharePlan()
        self.keepPlan()
        if !self.machine.isStopping { self.held.keep(self.machine.activePlan.replicas.flatMap(\.listens)) }
        if self.isApplying {
            self.notices(.changeEnded(reason))
            // Who hears of it gives back what is not needed any more.
            self.keepLeases()
            // Its name may be another one.
            let (sender, probe) = (self.sender, self.plan.modelProbe)
            group.addTask { sender.yield(.modelSeen(await probe?.name())) }
        }
        self.isApplying = false
        let end = RolloutProgress(reason == nil ? .done : .failed, reason: reason, cause: cause)
        self.rolloutWatcher?.yield(self.quoted(end))
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
