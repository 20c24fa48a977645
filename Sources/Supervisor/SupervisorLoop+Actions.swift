internal import CProcess
internal import Deployment
internal import Glibc
internal import NIOCore

/// Performing what the machine decides.
extension SupervisorLoop {
    func perform(_ action: DeploymentMachine.Action, in group: inout DiscardingTaskGroup) {
        switch action {
        case .replica(let index, let action):
            self.perform(action, of: index, in: &group)
        case .verify:
            self.verify(in: &group)
        case .lookForContradictions:
            self.lookForContradictions(in: &group)
        case .ready(let seconds):
            self.timers.arm(.trim, at: self.clock.now + .seconds(1))
            self.notices(.ready(seconds: seconds, model: self.servingModel))
        case .recovered:
            self.timers.arm(.trim, at: self.clock.now + .seconds(1))
            self.notices(.recovered)
        case .degraded(let missing):
            self.notices(.degraded(missing: missing))
        case .service(.lost(let service, let reason)):
            self.notices(.serviceLost(name: service.name, url: service.maskedURL, reason: reason))
        case .service(.back(let service, let seconds)):
            self.notices(.serviceBack(name: service.name, url: service.maskedURL, seconds: seconds))
        case .askServices:
            self.askServices(in: &group)
        case .firstExit(let index, let code):
            self.notices(.firstExit(replica: self.plan.replicas[index].name, code: code))
        case .failed(let failure):
            self.notices(.failed(failure.message))
        case .stopping(let now):
            // From here on nobody comes who would take the connections.
            self.held.keep([])
            self.keeper.closeSockets()
            self.notices(.stopping(now: now))
        case .finish(let outcome):
            self.outcome = self.completed(outcome)
        case .release(let name):
            self.release(name, in: &group)
        case .confirm(let replica, let run):
            self.confirm(replica, run: run, in: &group)
        case .watch:
            self.timers.arm(.watch, at: self.clock.now + self.machine.steadyTime)
        case .planChanged(let plan):
            self.sharePlan()
            self.keepPlan()
            self.notices(.planChanged(plan, isWayBack: self.machine.rollout?.failure != nil))
            // Who hears of it knows by it which devices are in use.
            self.keepLeases()
            self.armServices()
        case .closePublicPort:
            self.closePublicPort(in: &group)
        case .progress(let progress):
            self.progress(progress)
        case .rolloutEnded(let reason, let cause):
            self.rolloutEnded(reason, cause: cause, in: &group)
        }
    }

    private func perform(
        _ action: ReplicaMachine.Action,
        of index: Int,
        in group: inout DiscardingTaskGroup
    ) {
        let replica = self.plan.replicas[index]
        switch action {
        case .spawn(let run):
            self.spawn(index, run: run, in: &group)
        case .probe(let run, let layer):
            self.probeQueue.append((index, run, layer))
            self.startProbes(in: &group)
        case .arm(let timer, let deadline):
            self.timers.arm(.replica(index, timer), at: deadline)
        case .cancel(let timer):
            self.timers.cancel(.replica(index, timer))
        case .signal(_, let signal):
            self.rememberProcesses(of: index, in: &group)
            if let launch = self.launchOfReplica[index] { self.keeper.signal(launch, signal) }
        case .kill:
            if let launch = self.launchOfReplica[index] { self.keeper.signal(launch, SIGKILL) }
        case .clear(let run, let grace):
            self.notices(.ended(replica: replica.name))
            self.cleanupQueue.append((index, run, grace))
            self.lookForStrays(in: &group)
        case .layerReached(let layer, let seconds):
            self.rememberProcesses(of: index, in: &group)
            self.noteKept(of: index)
            self.notices(.layerReached(replica: replica.name, layer: layer, seconds: seconds))
        case .stateChanged(let detail):
            self.noteKept(of: index)
            let state = self.machine.replicas[index].shownState
            self.notices(.replicaState(replica: replica.name, state: state, detail: detail))
        case .stuck(let layer, let seconds, let reason):
            let lines = self.lastLines(of: index, 10)
            self.notices(
                .stuck(replica: replica.name, layer: layer, seconds: seconds, reason: reason, lastLines: lines)
            )
        case .holding(let seconds, let left):
            self.notices(
                .holding(
                    replica: replica.name,
                    pid: self.machine.replicas[index].run?.pid ?? 0,
                    signal: self.machine.replicas[index].plan.stop.signalName,
                    seconds: seconds,
                    left: left
                )
            )
        case .exited(let status):
            // Said when its output was read to the end.
            self.exits[index] = status
        case .restarting(let reason, let delay, let attempt):
            self.notices(
                .restarting(
                    replica: replica.name,
                    reason: reason,
                    delay: delay.inSeconds,
                    restart: attempt,
                    maximum: replica.restart.maximumRestarts
                )
            )
        case .warning(let text):
            self.warn(text)
        case .portsRenewed(let text):
            self.notices(.portsRenewed(replica: replica.name, text))
        case .said(let text):
            self.notices(.said(replica: replica.name, text))
        case .planTaken:
            self.sharePlan()
            self.notices(.replicaPlanned(self.machine.replicas[index].plan))
        case .hopeless, .late, .backoffOver:
            break
        }
    }

    /// What a replica wrote last, in its last run.
    func lastLines(of index: Int, _ count: Int) -> [String] {
        self.pump.lines(of: index, since: self.linesBefore[index] ?? 0).suffix(count)
    }

    private func completed(_ outcome: SupervisorOutcome) -> SupervisorOutcome {
        var outcome = outcome
        if let name = outcome.failure?.replica, let index = self.plan.replicas.firstIndex(where: { $0.name == name }) {
            outcome.failure?.lastLines = self.lastLines(of: index, 20)
        }
        for (replica, stray) in self.survivors where stray.isThere {
            outcome.survivors.append(Survivor(replica: replica, pid: stray.pid, command: stray.command))
        }
        if !outcome.survivors.isEmpty, outcome.exitCode == 0 { outcome.exitCode = 1 }
        return outcome
    }

    private func verify(in group: inout DiscardingTaskGroup) {
        let (verification, sender, probe) = (self.verification, self.sender, self.plan.modelProbe)
        self.timers.arm(.verification, at: self.clock.now + .seconds(self.options.verificationTimeout))
        group.addTask {
            let model = await probe?.name()
            sender.yield(.verified(await verification?(.everythingReady) ?? [], model: model))
        }
    }

    private func confirm(_ replica: ReplicaPlan, run: Int, in group: inout DiscardingTaskGroup) {
        let (verification, sender) = (self.verification, self.sender)
        group.addTask {
            let troubles = await verification?(.workerStarted(replica)) ?? []
            sender.yield(.confirmed(replica.name, run: run, troubles: troubles))
        }
    }

    private func lookForContradictions(in group: inout DiscardingTaskGroup) {
        guard let verification = self.verification else { return }
        let sender = self.sender
        group.addTask {
            let found = await verification(.workersReady)
            if !found.isEmpty { sender.yield(.contradictionsFound(found)) }
        }
    }

    // MARK: Starting

    private func spawn(_ index: Int, run: Int, in group: inout DiscardingTaskGroup) {
        let replica = self.plan.replicas[index]
        let now = self.clock.now
        // All ports were looked at together a moment ago; a restart looks again.
        let isFresh = self.portsCheckedAt.map { now - $0 < .seconds(1) } ?? false
        let taken = isFresh && run == 1 ? [] : self.takenPorts(of: [replica])
        guard taken.isEmpty else {
            if self.renew(taken, of: index, run: run, in: &group) { return }
            let reason = taken.map(\.words).joined(separator: "; ")
            // Of an earlier launcher something may be about to end, and others serve.
            let isPermanent = run == 1 && !self.machine.isAdopted
            return self.feed(.notStarted(replica: index, run: run, reason: reason, permanent: isPermanent), in: &group)
        }
        do {
            // One that opens its ports itself now must be able to.
            self.forgetKept(of: index)
            self.held.release(Set(replica.ports.map(\.port)), except: replica.listens)
            let held = try self.held.descriptors(replica.listens)
            let group = try self.memoryGroup(of: replica)
            defer { if let group { close(group) } }
            let output = try Pipe()
            let errors: Pipe
            do { errors = try Pipe() } catch {
                output.close()
                throw error
            }
            var notify: NotifySocket?
            if replica.readiness.contains(where: { $0.probe == .notify }) {
                do { notify = try NotifySocket(path: self.notifyPath(of: index, run: run)) } catch {
                    output.close()
                    errors.close()
                    throw error
                }
            }
            self.linesBefore[index] = self.pump.lineCount(of: index)
            let kept: [Int32]
            let spools: (stdout: LogSpool, stderr: LogSpool)?
            do {
                let sockets = held + (notify.map { [$0.descriptor] } ?? [])
                (kept, spools) = try self.kept(index, run: run, output: output, errors: errors, sockets: sockets)
            } catch {
                output.close()
                errors.close()
                notify?.close()
                throw error
            }
            defer { if let label = kept.first { close(label) } }
            self.lastLaunch += 1
            let id = self.lastLaunch
            self.launches[id] = .replica(index, run: run)
            self.launchOfReplica[index] = id
            self.outputs[id] = LogPump.Run(
                replica: index,
                run: run,
                stdout: output.reading,
                stderr: errors.reading,
                patterns: replica.logPatterns,
                notify: notify,
                marker: self.marker(of: replica),
                commandFile: CommandFile.make(for: replica, run: run, in: self.plan),
                spools: spools
            )
            if !kept.isEmpty { self.keptLaunches[index] = id }
            defer {
                close(output.writing)
                close(errors.writing)
            }
            try self.keeper.spawn(
                SpawnRequest(
                    id: id,
                    executable: replica.executable,
                    arguments: replica.arguments,
                    environment: self.environment(of: replica)
                        + (notify.map { ["\(NotifySocket.variable)=\($0.path)"] } ?? [])
                        + HeldSockets.variables(replica.listens),
                    directory: replica.workingDirectory,
                    descriptors: [output.writing, errors.writing] + held,
                    limits: replica.limits,
                    group: group,
                    kept: kept
                )
            )
        } catch {
            self.forgetLaunch(of: index)
            let isPermanent = (error as? SpawnError)?.isPermanent ?? (error is ControlGroupTrouble)
            self.feed(.notStarted(replica: index, run: run, reason: "\(error)", permanent: isPermanent), in: &group)
        }
    }

    /// `cgroup.procs` of the group that bounds the memory of a replica, if anything does.
    private func memoryGroup(of replica: ReplicaPlan) throws(ControlGroupTrouble) -> Int32? {
        guard let memory = replica.limits?.memory else { return nil }
        if self.groups == nil { self.groups = try ControlGroups.own() }
        return try self.groups?.open("\(Self.groupPrefix(of: self.plan))\(replica.name)", memory: memory)
    }

    static func groupPrefix(of plan: Plan) -> String { "\(plan.deployment).g\(plan.generation)." }

    func environment(of replica: ReplicaPlan) -> [String] {
        replica.environment.map { "\($0.name)=\($0.value)" } + [
            "\(StrayFinder.marker)=\(self.marker(of: replica))"
        ]
    }

    func notifyPath(of index: Int, run: Int) -> String { "\(self.plan.directories.runtime)/notify.\(index).\(run)" }

    func marker(of replica: ReplicaPlan) -> String { "\(self.plan.markerPrefix)\(replica.name)" }

    func forgetLaunch(of index: Int) {
        guard let id = self.launchOfReplica.removeValue(forKey: index) else { return }
        self.readOutput(of: id, pid: nil)
        self.launches[id] = nil
        self.pids[id] = nil
    }

    func readOutput(of id: UInt64, pid: Int32?) {
        guard var run = self.outputs.removeValue(forKey: id) else { return }
        run.pid = pid
        self.pump.send(.add(run))
    }

    // MARK: The keeper's reports

    func keeperReported(_ report: KeeperReport, in group: inout DiscardingTaskGroup) {
        switch report {
        case .spawned(let id, let pid):
            self.pids[id] = pid
            self.readOutput(of: id, pid: pid)
            switch self.launches[id] {
            case .replica(let index, let run):
                self.sessions[pid] = index
                self.remember(pid, of: index)
                self.notices(.started(replica: self.plan.replicas[index].name, pid: pid))
                self.feed(.spawned(replica: index, run: run, pid: pid), in: &group)
            case .exec, nil:
                break
            }
        case .spawnFailed(let id, let error):
            switch self.launches.removeValue(forKey: id) {
            case .replica(let index, let run):
                self.forgetLaunch(of: index)
                self.forgetKept(of: index)
                let reason = "\(error)"
                self.feed(
                    .notStarted(replica: index, run: run, reason: reason, permanent: error.isPermanent),
                    in: &group
                )
            case .exec(let probe):
                self.execFinished(id, probe, .failure("\(error)"), in: &group)
            case nil:
                break
            }
        case .exited(let id, _, let status):
            // Adopted processes are found again, if they matter, by their environment or session.
            guard let id else { return }
            self.pids[id] = nil
            switch self.launches.removeValue(forKey: id) {
            case .replica(let index, let run):
                if self.launchOfReplica[index] == id { self.launchOfReplica[index] = nil }
                self.feed(.exited(replica: index, run: run, status), in: &group)
            case .exec(let probe):
                self.execFinished(id, probe, probe.outcome(of: status), in: &group)
            case nil:
                break
            }
        }
    }
}

extension ReplicaPlan {
    /// The layers that are decided by a line of the log.
    var logPatterns: [(index: Int, pattern: String)] {
        self.readiness.enumerated().compactMap { index, layer in
            if case .logLine(let pattern) = layer.probe { (index, pattern) } else { nil }
        }
    }
}

/// A pipe for the output of a replica.
struct Pipe {
    let reading: Int32
    let writing: Int32

    /// Makes a pipe whose reading end does not block; the writing end does, so that a replica waits when it writes too fast.
    ///
    /// - Throws: `PipeError` when there are no descriptors left.
    init() throws(PipeError) {
        var reading: Int32 = -1
        var writing: Int32 = -1
        let error = dynamo_pipe(&reading, &writing)
        guard error == 0 else { throw PipeError(errno: error) }
        self.reading = reading
        self.writing = writing
    }

    func close() {
        Glibc.close(self.reading)
        Glibc.close(self.writing)
    }
}

/// A pipe could not be made.
struct PipeError: Error, CustomStringConvertible {
    var errno: Int32
    var description: String { "cannot make a pipe for its output: \(errorText(self.errno))" }
}
