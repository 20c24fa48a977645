internal import CProcess
internal import Deployment
internal import Glibc

/// A program that is run as a probe.
struct ExecProbe: Sendable {
    var replica: Int
    var run: Int
    var index: Int
    /// Its output: a file in memory.
    var output: Int32
    var timedOutAfter: Double?

    func outcome(of status: ProcessExit) -> ProbeOutcome {
        if let limit = self.timedOutAfter { return .failure("did not end within \(limit.shortWords) s") }
        if status.isSuccess { return .success }
        let size = lseek(self.output, 0, SEEK_END)
        var bytes = [UInt8](repeating: 0, count: 512)
        let count = pread(self.output, &bytes, bytes.count, max(0, size - off_t(bytes.count)))
        let text = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
        let line = text.split(whereSeparator: \.isNewline).last.map { String($0).trimmed } ?? ""
        return .failure(line.isEmpty ? status.words : "\(status.words): \(line)")
    }
}

/// Asking probes, a bounded number at the same time.
extension SupervisorLoop {
    func startProbes(in group: inout DiscardingTaskGroup) {
        var queue = self.probeQueue[...]
        defer { self.probeQueue = Array(queue) }
        while self.probesUnderWay < self.options.concurrentProbes, let next = queue.first {
            guard self.machine.replicas[next.replica].run?.number == next.run else {
                queue.removeFirst()
                continue
            }
            if let later = self.probeRate.take(at: self.clock.now) {
                self.timers.arm(.probes, at: later)
                break
            }
            queue.removeFirst()
            self.probesUnderWay += 1
            let replica = self.plan.replicas[next.replica]
            let probe = self.machine.replicas[next.replica].schedule.layers[next.index].probe
            if case .exec(let argv) = probe {
                self.exec(argv, for: next, replica: replica)
                continue
            }
            let sender = self.sender
            let runner = self.probes
            let timeout = Duration.seconds(replica.timing.probeTimeout)
            group.addTask {
                let outcome = await runner.ask(probe, timeout: timeout)
                sender.yield(.probeFinished(replica: next.replica, run: next.run, index: next.index, outcome))
            }
        }
    }

    private func exec(_ argv: [String], for next: (replica: Int, run: Int, index: Int), replica: ReplicaPlan) {
        let finish = { (outcome: ProbeOutcome) in
            _ = self.sender.yield(
                .probeFinished(replica: next.replica, run: next.run, index: next.index, outcome)
            )
        }
        guard let program = argv.first else { return finish(.failure("no program to run")) }
        guard let executable = Self.find(program, for: replica) else {
            return finish(.failure("\(program) is not on the PATH of \(replica.name)"))
        }
        let output = dynamo_memory_file()
        guard output >= 0 else { return finish(.failure("no file for the output: \(errorText(errno))")) }
        self.lastLaunch += 1
        let id = self.lastLaunch
        let request = SpawnRequest(
            id: id,
            executable: executable,
            arguments: Array(argv.dropFirst()),
            environment: self.environment(of: replica),
            directory: replica.workingDirectory,
            descriptors: [output, output]
        )
        do {
            try self.keeper.spawn(request)
        } catch {
            close(output)
            return finish(.failure("\(error)"))
        }
        let probe = ExecProbe(replica: next.replica, run: next.run, index: next.index, output: output)
        self.launches[id] = .exec(probe)
        self.timers.arm(.exec(id), at: self.clock.now + .seconds(replica.timing.probeTimeout))
    }

    func execTimedOut(_ id: UInt64) {
        guard case .exec(var probe) = self.launches[id] else { return }
        probe.timedOutAfter = self.plan.replicas[probe.replica].timing.probeTimeout
        self.launches[id] = .exec(probe)
        self.keeper.killTree(id)
    }

    func execFinished(_ id: UInt64, _ probe: ExecProbe, _ outcome: ProbeOutcome, in group: inout DiscardingTaskGroup) {
        self.timers.cancel(.exec(id))
        close(probe.output)
        self.probesUnderWay -= 1
        self.feed(.probeFinished(replica: probe.replica, run: probe.run, index: probe.index, outcome), in: &group)
        self.startProbes(in: &group)
    }

    /// Looks a program up as a shell would with the replica's own PATH.
    static func find(_ program: String, for replica: ReplicaPlan) -> String? {
        let path = replica.environment.last { $0.name == "PATH" }?.value
        return ProgramSearch.find(program, path: path, directory: replica.workingDirectory)
    }

    // MARK: Servers outside the deployment

    func armServices() {
        guard !self.plan.externalServices.isEmpty else { return self.timers.cancel(.services) }
        self.timers.arm(.services, at: self.clock.now + self.machine.services.pause)
    }

    /// Asks those that the plan needs as it is now.
    func askServices(in group: inout DiscardingTaskGroup) {
        guard !self.machine.isStopping, !self.isAskingServices else { return }
        self.isAskingServices = true
        let (check, sender) = (
            ExternalServiceCheck(services: self.plan.externalServices, probes: self.probes), self.sender
        )
        group.addTask { sender.yield(.servicesSeen(await check.answers())) }
    }
}
