internal import CProcess
internal import Deployment
internal import Glibc
internal import NIOPosix

/// Ending what leaders leave behind, and what a lost keeper leaves behind.
extension SupervisorLoop {
    static let cleanupInterval: Duration = .milliseconds(30)

    /// Begins a look at /proc, unless one is under way or nobody waits for it.
    func lookForStrays(in group: inout DiscardingTaskGroup) {
        guard !self.isLookingForStrays, !self.isKeeperLost else { return }
        let now = self.clock.now
        for entry in self.cleanupQueue {
            self.cleanup.add(replica: entry.replica, run: entry.run, grace: entry.grace, at: now)
        }
        self.cleanupQueue = []
        guard !self.cleanup.isEmpty else { return }
        self.isLookingForStrays = true
        let finder = self.finder()
        let sender = self.sender
        let threads = self.threads
        group.addTask {
            let strays = try? await threads.runIfActive { finder.find() }
            sender.yield(.strays(strays ?? []))
        }
    }

    private func finder() -> StrayFinder {
        let names = self.plan.replicas.enumerated().map { ($0.element.name, $0.offset) }
        return StrayFinder(
            prefix: self.plan.markerPrefix,
            keeper: self.keeper.pid,
            leaders: Set(self.pids.values),
            sessions: self.sessions,
            replicas: Dictionary(names) { first, _ in first }
        )
    }

    /// Names what is left although every replica is gone: processes that shed every sign of whose they are.
    ///
    /// The keeper ends them.
    func nameLeftovers() async {
        guard !self.isKeeperLost else { return }
        let finder = self.finder()
        let strays = (try? await self.threads.runIfActive { finder.find() }) ?? []
        guard !strays.isEmpty else { return }
        let names = strays.map { "\($0.command) (pid \($0.pid))" }.joined(separator: ", ")
        self.warn("ending processes that belong to no replica any more: \(names)")
    }

    func strayFound(_ strays: [Stray], in group: inout DiscardingTaskGroup) {
        self.isLookingForStrays = false
        for stray in strays {
            if let owner = stray.owner { self.remember(stray.pid, startTime: stray.startTime, of: owner) }
        }
        for action in self.cleanup.evaluate(strays, at: self.clock.now) {
            switch action {
            case .signal(let stray, let signal):
                _ = dynamo_signal_process(stray.pid, stray.startTime, signal)
            case .cleared(let index, let run, let killed, let survivors):
                let name = self.plan.replicas[index].name
                if !killed.isEmpty {
                    self.warn(
                        "\(name) left processes behind that ignored SIGTERM and were killed: \(killed.joined(separator: ", "))"
                    )
                }
                if !survivors.isEmpty {
                    self.warn(of: survivors, "\(name) left processes behind that cannot be killed: ", in: &group)
                    self.survivors += survivors.map { (name, $0) }
                }
                // Its last lines may still be in the pipes.
                self.pump.send(.finish(replica: index, run: run))
            }
        }
        if !self.cleanupQueue.isEmpty {
            self.lookForStrays(in: &group)
        } else if !self.cleanup.isEmpty {
            self.timers.arm(.cleanup, at: self.clock.now + Self.cleanupInterval)
        }
    }

    func logReported(_ event: LogPump.Event, in group: inout DiscardingTaskGroup) {
        switch event {
        case .matched(let index, let run, let layer):
            self.feed(.logMatched(replica: index, run: run, index: layer), in: &group)
            // It may come before its turn, and is not read again.
            self.noteKept(of: index)
        case .notified(let index, let run, let message):
            self.feed(.notified(replica: index, run: run, message), in: &group)
            self.noteKept(of: index)
        case .strangerNotified(let index, let run, let pid):
            let name = self.plan.replicas[index].name
            let who = pid == 0 ? "an unknown process" : "\(ProcessTable.command(of: pid)) (pid \(pid))"
            self.warn(
                "\(name): what \(who) says to its NOTIFY_SOCKET (start \(run)) does not count: it is none of its processes"
            )
        case .drained(let index, let run):
            let isUnasked = self.exits[index] != nil
            if let status = self.exits.removeValue(forKey: index) {
                let name = self.plan.replicas[index].name
                let lines = self.lastLines(of: index, 10)
                self.notices(.exited(replica: name, exit: status.words, lastLines: lines))
            }
            if self.renewAfterExit(index, run: run, isUnasked: isUnasked, in: &group) { return }
            self.finishRun(index, run: run, in: &group)
        case .trouble(let index, let text?):
            guard self.logTroubles.updateValue(text, forKey: index) == nil else { return }
            self.notices(.warning(text))
        case .trouble(let index, nil):
            guard self.logTroubles.removeValue(forKey: index) != nil else { return }
            self.notices(.warning("the log of \(self.plan.replicas[index].name) is written again"))
        }
    }

    // MARK: A lost keeper

    func keeperEnded(_ reason: String, in group: inout DiscardingTaskGroup) {
        guard !self.isKeeperLost else { return }
        self.isKeeperLost = true
        for id in self.outputs.keys { self.readOutput(of: id, pid: nil) }
        let sender = self.sender
        let threads = self.threads
        let marker = self.plan.markerPrefix
        let leaders = Set(self.pids.values)
        self.feed(.keeperLost(reason), in: &group)
        group.addTask {
            let survivors = try? await threads.runIfActive { AbandonedProcesses.kill(marker: marker, leaders: leaders) }
            sender.yield(.abandonedKilled(survivors: survivors ?? []))
        }
    }

    func abandonedKilled(_ survivors: [Stray], in group: inout DiscardingTaskGroup) {
        if !survivors.isEmpty { self.warn(of: survivors, "processes that cannot be killed: ", in: &group) }
        for index in self.plan.replicas.indices {
            guard let run = self.machine.replicas[index].run?.number else { continue }
            self.feed(.exited(replica: index, run: run, .signalled(SIGKILL)), in: &group)
            self.pump.send(.finish(replica: index, run: run))
        }
    }
}
