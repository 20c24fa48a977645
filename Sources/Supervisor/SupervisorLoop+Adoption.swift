internal import CProcess
internal import Deployment
internal import Glibc

/// Living on without a launcher: what the keeper is given for the next one, and what this one takes from an earlier one.
extension SupervisorLoop {
    // MARK: For the next launcher

    /// Lets the keeper know what the deployment is.
    func keepPlan() {
        guard self.keeper.hasDoor else { return }
        let plan = self.machine.activePlan
        do {
            let file = try KeptFile.make(plan)
            self.keeper.keep(file)
            close(file)
        } catch {
            self.warn("\(error)")
        }
        self.keeper.setSurvive(plan.survive)
        self.keepLeases()
    }

    /// Lets the keeper hold the leases of ports and devices that the generation has now.
    func keepLeases() {
        guard self.keeper.hasDoor else { return }
        let leases = self.leases()
        defer { for lease in leases { close(lease) } }
        guard let trouble = self.keeper.hold(leases) else { return }
        self.warn("leases of ports and GPUs would end with this launcher, and not with the processes: \(trouble)")
    }

    /// What the keeper keeps of a process that is about to be started, and the spools of its pipes.
    ///
    /// - Returns: the descriptors, of which the first one is the caller's to close; none when nothing is to outlive the launcher.
    /// - Throws: `KeptFileError` when there is no memory for it.
    func kept(
        _ index: Int,
        run: Int,
        output: Pipe,
        errors: Pipe,
        sockets: [Int32]
    ) throws(KeptFileError) -> (descriptors: [Int32], spools: (stdout: LogSpool, stderr: LogSpool)?) {
        guard self.keeper.hasDoor else { return ([], nil) }
        let replica = self.machine.replicas[index]
        let label = try KeptFile.make(
            KeptReplica(
                replica: replica.plan,
                run: run,
                restarts: replica.restarts,
                restartsAskedFor: replica.restartsAskedFor,
                startedAt: Double(LogTime.now.milliseconds) / 1000
            )
        )
        guard let stdout = LogSpool(dynamo_spool_make()) else {
            defer { close(label) }
            throw KeptFileError(errno: errno)
        }
        guard let stderr = LogSpool(dynamo_spool_make()) else {
            defer {
                close(label)
                stdout.close()
            }
            throw KeptFileError(errno: errno)
        }
        let descriptors = [label, output.reading, errors.reading, stdout.descriptor, stderr.descriptor] + sockets
        return (descriptors, (stdout, stderr))
    }

    /// Nobody wants to know any more how the replica's last process was.
    func forgetKept(of index: Int) {
        self.notes[index] = nil
        if let id = self.keptLaunches.removeValue(forKey: index) { self.keeper.forget(id) }
    }

    /// Lets the keeper know how far the replica's process is.
    func noteKept(of index: Int) {
        guard let id = self.keptLaunches[index] else { return }
        let note = self.machine.replicas[index].keptNote
        guard self.notes.updateValue(note, forKey: index) != note else { return }
        self.keeper.note(id, note)
    }

    // MARK: From an earlier launcher

    /// Goes on with what an earlier launcher has started, and starts the rest.
    func begin(with adopted: [Orphans.Run], in group: inout DiscardingTaskGroup) {
        let wall = Double(LogTime.now.milliseconds) / 1000
        var told: [(index: Int, run: Orphans.Run)] = []
        for run in adopted {
            let kept = run.kept
            guard let index = self.plan.replicas.firstIndex(where: { $0.name == kept.replica.name }) else {
                for descriptor in run.descriptors { close(descriptor) }
                continue
            }
            let age = max(0, wall - kept.startedAt)
            self.lastLaunch = max(self.lastLaunch, run.id)
            self.launches[run.id] = .replica(index, run: kept.run)
            self.launchOfReplica[index] = run.id
            self.keptLaunches[index] = run.id
            self.sessions[run.pid] = index
            if run.exit == nil { self.pids[run.id] = run.pid }
            self.readOn(run, of: index)
            if run.exit == nil {
                self.remember(run.pid, startTime: run.startTime, of: index)
                self.notices(.adopted(replica: kept.replica.name, pid: run.pid, seconds: age))
            }
            let event = DeploymentMachine.Adopted(
                run: kept.run,
                restarts: kept.restarts,
                restartsAskedFor: kept.restartsAskedFor ?? 0,
                note: run.note,
                pid: run.exit == nil ? run.pid : nil,
                startedAt: self.clock.now - .seconds(age)
            )
            self.feed(.adopted(replica: index, event), in: &group)
            told.append((index, run))
        }
        self.feed(.begin, in: &group)
        for (index, run) in told {
            if let exit = run.exit {
                self.keeperReported(.exited(id: run.id, pid: run.pid, exit), in: &group)
            } else {
                self.feed(.spawned(replica: index, run: run.kept.run, pid: run.pid), in: &group)
            }
        }
    }

    /// Reads what the process writes from where the earlier launcher stopped.
    private func readOn(_ run: Orphans.Run, of index: Int) {
        let replica = self.plan.replicas[index]
        var others = self.held.take(run.sockets, for: replica.listens)
        var notify: NotifySocket?
        if let last = others.popLast() {
            notify = NotifySocket(adopted: last, path: self.notifyPath(of: index, run: run.kept.run))
        }
        for descriptor in others { close(descriptor) }
        var spools: (stdout: LogSpool, stderr: LogSpool)?
        if let stdout = LogSpool(run.outputSpool), let stderr = LogSpool(run.errorsSpool) { spools = (stdout, stderr) }
        self.pump.send(
            .add(
                LogPump.Run(
                    replica: index,
                    run: run.kept.run,
                    pid: run.pid,
                    stdout: run.output,
                    stderr: run.errors,
                    patterns: replica.logPatterns.filter { !run.note.matched.contains($0.index) },
                    notify: notify,
                    marker: self.marker(of: replica),
                    spools: spools,
                    isAdopted: true
                )
            )
        )
    }
}
