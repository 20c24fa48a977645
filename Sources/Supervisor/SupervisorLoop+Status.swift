internal import Deployment
internal import Glibc

/// What the control interface is told.
extension SupervisorLoop {
    func take(_ query: StatusQuery) {
        self.lastQuery += 1
        self.queries[self.lastQuery] = query
        if let limit = query.limit { self.timers.arm(.query(self.lastQuery), at: self.clock.now + limit) }
    }

    /// Answers everybody whose moment has come.
    func answerQueries() {
        guard !self.queries.isEmpty else { return }
        var status: DeploymentStatus?
        for (id, query) in self.queries {
            let isDue =
                switch query.moment {
                case .now: true
                case .readyOrEnded: self.machine.phase == .ready || self.machine.failure != nil || self.outcome != nil
                case .settled: self.machine.readyAfter != nil || self.machine.failure != nil || self.outcome != nil
                case .ended: self.outcome != nil
                }
            guard isDue else { continue }
            let current = status ?? self.status()
            status = current
            self.queries[id] = nil
            self.timers.cancel(.query(id))
            query.reply(current)
        }
    }

    func status() -> DeploymentStatus {
        let now = self.clock.now
        let state: DeploymentStatus.State =
            switch self.machine.phase {
            case .starting, .verifying: .starting
            case .ready: .ready
            case .degraded: .degraded
            case .stopping: self.machine.failure == nil ? .stopping : .failed
            case .finished: self.machine.failure == nil ? .stopped : .failed
            }
        let relays = self.relays()
        return DeploymentStatus(
            deployment: self.plan.deployment,
            generation: self.plan.generation,
            state: state,
            failure: self.machine.failure?.message,
            planes: self.plan.planes,
            namespace: self.plan.namespace,
            url: self.plan.publicURL,
            model: self.servingModel ?? self.plan.model,
            manifest: self.plan.manifestPath,
            launcherPID: getpid(),
            uptime: (now - (self.options.deploymentStart ?? self.startedAt)).inSeconds,
            readyAfter: self.machine.readyAfter,
            replicas: self.machine.replicas.indices.filter { !self.machine.replicas[$0].isRetired }.map {
                self.replicaStatus($0, relays, at: now)
            },
            externalServices: self.plan.externalServices.map { self.machine.services.status(of: $0, at: now) },
            warnings: self.warnings + self.logTroubles.values.sorted(),
            survivors: self.outcome?.survivors ?? []
        )
    }

    private func replicaStatus(
        _ index: Int,
        _ relays: [String: KVRelayStatus],
        at now: ContinuousClock.Instant
    ) -> ReplicaStatus {
        let replica = self.machine.replicas[index]
        var waitingFor = replica.waitingFor(at: now)
        if replica.state == .waiting, let missing = self.machine.missingDependency(of: index) {
            waitingFor = "\(missing.process) to reach \(missing.layer.rawValue)"
        }
        return ReplicaStatus(
            name: replica.plan.name,
            process: replica.plan.process,
            role: replica.plan.role,
            state: replica.shownState,
            pid: replica.run?.pid ?? replica.survivor?.pid,
            layer: replica.run?.reached.last?.layer,
            reached: replica.run?.reached ?? [],
            waitingFor: waitingFor,
            says: replica.run?.status,
            restarts: replica.restarts,
            restartsAskedFor: replica.restartsAskedFor,
            lastExit: replica.lastExit,
            ports: replica.plan.ports,
            gpus: replica.plan.gpus.isEmpty ? nil : replica.plan.gpus,
            logFile: self.plan.logFile(of: replica.plan),
            uptime: replica.run.map { (now - $0.startedAt).inSeconds },
            kvEvents: relays[replica.plan.name]
        )
    }
}
