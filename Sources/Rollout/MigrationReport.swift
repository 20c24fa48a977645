internal import Deployment
internal import Gateway
internal import Supervisor

/// Says where a migration is.
struct MigrationReport: Sendable {
    let control: any GenerationControl

    func status(
        id: Int,
        migration: PlannedMigration,
        machine: MigrationMachine,
        work: MigrationWork,
        notes: [String],
        waitingFor: String?,
        startedAt: ContinuousClock.Instant,
        stepAt: ContinuousClock.Instant,
        warmEnd: ContinuousClock.Instant?,
        isStopped: Bool
    ) async -> MigrationStatus {
        let now = ContinuousClock.now
        let next = machine.step.isEnd || machine.step == .rollingBack ? nil : machine.remaining.first
        return MigrationStatus(
            id: id,
            from: self.generation(migration.from, await work.oldFigures),
            to: self.generation(migration.to, await work.newFigures),
            strategy: migration.plan.strategy,
            step: machine.step,
            stage: machine.step == .shifting || machine.step == .observing ? machine.stage + 1 : nil,
            stages: machine.stages,
            share: work.share,
            isPaused: machine.isPaused,
            detail: self.detail(machine, work.isUnseen, waitingFor),
            next: next.map { self.words($0, migration) },
            nextIn: machine.isPaused
                ? nil : warmEnd.map { max(0, ($0 - now) / .seconds(1)) } ?? work.observationLeft,
            elapsed: (now - startedAt) / .seconds(1),
            stepElapsed: (now - stepAt) / .seconds(1),
            reason: machine.reason,
            isStopped: isStopped,
            notes: notes
        )
    }

    private func detail(_ machine: MigrationMachine, _ isUnseen: Bool, _ waitingFor: String?) -> String? {
        switch machine.step {
        case .confirming:
            "a person is asked: 'dynamo-launch migrate promote' goes on, 'dynamo-launch migrate abort' takes it back"
        case .starting: waitingFor
        case .verifying, .canary, .shifting, .draining: isUnseen ? waitingFor : nil
        default: nil
        }
    }

    private func generation(_ plan: Plan, _ figures: TrafficFigures) -> MigrationStatus.Generation {
        let (ready, replicas) = self.control.readiness(of: plan.generation)
        return MigrationStatus.Generation(
            number: plan.generation,
            requestPlane: plan.planes.request.rawValue,
            release: plan.release.map { "\($0)" },
            manifest: plan.manifestPath,
            ready: ready,
            replicas: replicas,
            requests: figures.requests,
            errors: figures.errors,
            inFlight: figures.inFlight,
            firstToken: figures.firstToken.quantile(0.5),
            betweenTokens: figures.betweenTokens.quantile(0.5)
        )
    }

    private func words(_ position: MigrationMachine.Position, _ migration: PlannedMigration) -> String {
        let (old, new) = ("generation \(migration.from.generation)", "generation \(migration.to.generation)")
        let shares = migration.plan.shares
        return switch position.step {
        case .preparing: "what \(new) needs is looked at"
        case .emptying: "\(old) is stopped, and requests wait"
        case .starting: "\(new) is started"
        case .verifying: "discovery is compared with the plans"
        case .canary: "probe requests through \(new)"
        case .confirming: "a person is asked"
        case .shifting: "\(shares[min(position.stage, shares.count - 1)]) % of the requests go to \(new)"
        case .observing: "\(new) is watched"
        case .draining: "\(old) answers what it has"
        case .warm: "\(old) is kept for a return"
        case .retiring: "\(old) is stopped"
        case .rollingBack, .done, .rolledBack, .failed: position.step.rawValue
        }
    }
}

extension MigrationRecord {
    /// The command that migrates back to what is gone.
    var wayBack: String {
        let planes = PlaneSet.Request.allCases.map(\.rawValue)
        func plane(_ generation: String) -> String? {
            planes.first { generation.contains("(\($0))") || generation.contains("(\($0),") }
        }
        guard let old = plane(self.from), old != plane(self.to) else {
            return "dynamo-launch migrate --to-manifest FILE"
        }
        return "dynamo-launch migrate --to \(old)"
    }
}
