import Deployment
import Rollout
import Supervisor

/// The generation beside the one that is started first, in a migration that an earlier launcher has begun and this one goes on with.
struct SecondGeneration: Sendable {
    /// What runs of it, as it runs; all of it when nothing does.
    let plan: Plan
    /// Its processes; nil: it was stopped for the other one.
    let orphans: Orphans?
    let source: GenerationSource
    /// What `up` was called with when the migration began.
    let base: GenerationSource
    let ports: PortSource
    let migration: ResumedMigration
}

extension DeploymentStart {
    /// What both generations of an interrupted migration are, to go on with it.
    ///
    /// - Parameters:
    ///   - host: holds the deployment's lock.
    ///   - journal: knows the migration.
    ///   - called: what `up` was called with.
    ///   - passed: sockets that are open already.
    /// - Returns: them; nil when there is nothing to go on with.
    /// - Throws: `Refusal` when it is to be finished or undone instead; nothing has changed then.
    static func resume(
        _ host: DeploymentHost,
        _ journal: MigrationJournal,
        _ called: Preparation,
        _ passed: PassedSockets
    ) async throws(MigrationResumption.Refusal) -> DeploymentStart? {
        guard !host.orphans.isEmpty, let resumption = try journal.history.resumption(calledWith: called.source)
        else { return nil }
        let began = resumption.began
        let new = try Self.orphans(of: host, began.toNumber)
        var from = try await Self.old(host, resumption, called, beside: new)
        var to: KeptGeneration
        do throws(MigrationResumption.Refusal) {
            to = try await KeptGeneration(
                new,
                began.source,
                called,
                instead: began.strategy == .rolling ? from.plan : nil
            )
        } catch {
            from.ports.release()
            throw error
        }
        do {
            let isNewFirst = resumption.isCommitted || from.orphans == nil
            let listeners = try PublicListeners(passed, plan: isNewFirst ? to.plan : from.plan)
            from.publicAddress = listeners.address ?? from.publicAddress
            to.publicAddress = listeners.address ?? to.publicAddress
            let migration = try Self.migration(resumption, from, to)
            let (first, second) = isNewFirst ? (to, from) : (from, to)
            var plan = first.running
            plan.notes += listeners.notes
            return DeploymentStart(
                host: host,
                journal: journal,
                base: called.source,
                preparation: first.preparation,
                ports: first.ports,
                plan: plan,
                listeners: listeners,
                notes: [Self.note(of: [from.orphans, new].compactMap(\.self))],
                orphans: first.orphans,
                second: SecondGeneration(
                    plan: second.running,
                    orphans: second.orphans,
                    source: second.preparation.source,
                    base: began.base,
                    ports: second.ports,
                    migration: migration
                ),
                others: host.orphans.filter { ![began.fromNumber, began.toNumber].contains($0.generation) }
            )
        } catch {
            from.ports.release()
            to.ports.release()
            throw MigrationResumption.Refusal("\(error)")
        }
    }

    /// The generation that the migration began with.
    private static func old(
        _ host: DeploymentHost,
        _ resumption: MigrationResumption,
        _ called: Preparation,
        beside new: Orphans
    ) async throws(MigrationResumption.Refusal) -> KeptGeneration {
        let (number, source) = (resumption.began.fromNumber, resumption.fromSource)
        let orphans: Orphans
        switch resumption.began.strategy {
        case .recreate:
            guard host.orphans.allSatisfy({ $0.generation != number }) else {
                throw MigrationResumption.Refusal("generation \(number) was still being stopped")
            }
            return try await KeptGeneration(stopped: number, source, called, for: new.whole)
        case .blueGreen, .rolling: orphans = try Self.orphans(of: host, number)
        }
        guard orphans.whole.publicAddress == new.whole.publicAddress else {
            throw MigrationResumption.Refusal("its generations are not for the same public address")
        }
        let isRolling = resumption.began.strategy == .rolling
        return try await KeptGeneration(orphans, source, called, instead: isRolling ? new.plan : nil)
    }

    /// What is left of the migration.
    private static func migration(
        _ resumption: MigrationResumption,
        _ from: KeptGeneration,
        _ to: KeptGeneration
    ) throws -> ResumedMigration {
        let began = resumption.began
        let plan = try MigrationPlan(
            from: MigrationPlan.Side(number: began.fromNumber, plan: from.plan),
            to: MigrationPlan.Side(number: began.toNumber, plan: to.plan),
            settings: resumption.settings,
            confirms: resumption.asksPerson,
            devices: to.ports.devices.known
        )
        let (old, new) = (from.orphans == nil ? nil : from.running, to.running)
        guard plan.fits(old: old, new: new, after: resumption.finishedStages(of: plan.waves.count)) else {
            throw MigrationResumption.Refusal("its workers would change places in another order now")
        }
        return ResumedMigration(
            PlannedMigration(
                from: from.plan,
                to: to.plan,
                fromSource: resumption.fromSource,
                source: began.source,
                base: began.base,
                settings: resumption.settings,
                asksPerson: resumption.asksPerson,
                plan: plan
            ),
            resumption,
            old: old,
            new: new
        )
    }

    private static func orphans(
        of host: DeploymentHost,
        _ number: Int
    ) throws(MigrationResumption.Refusal) -> Orphans {
        guard let found = host.orphans.first(where: { $0.generation == number }) else {
            throw MigrationResumption.Refusal("generation \(number) does not run any more")
        }
        return found
    }
}

/// A generation of a migration whose launcher is gone, planned as it was before.
private struct KeptGeneration {
    /// Its processes; nil: it was stopped.
    let orphans: Orphans?
    let preparation: Preparation
    let ports: PortSource
    /// All of it, with what runs as it runs.
    private(set) var plan: Plan
    /// The part of it that runs, or shall run: with `rolling` its other workers come later, or have gone.
    private(set) var running: Plan

    var publicAddress: HTTPAddress {
        get { self.plan.publicAddress }
        set { (self.plan.publicAddress, self.running.publicAddress) = (newValue, newValue) }
    }

    /// One that goes on.
    ///
    /// - Parameters:
    ///   - orphans: its processes.
    ///   - source: what it was planned from.
    ///   - called: what `up` was called with.
    ///   - other: the generation with which its workers change places; nil: both are complete, side by side.
    /// - Throws: `Refusal` when it would be another one now.
    init(
        _ orphans: Orphans,
        _ source: GenerationSource,
        _ called: Preparation,
        instead other: Plan?
    ) async throws(MigrationResumption.Refusal) {
        var source = source
        source.scaled = orphans.plan.given?.scaled
        self.preparation = try Self.preparation(orphans.generation, source, called)
        let ports = self.preparation.ports(.held)
        // Before its own: those that have changed places have the devices of the other ones.
        if let other { ports.follow(other, beside: false) }
        ports.adopt(orphans)
        var wanted = try await Self.plan(self.preparation, ports)
        wanted.publicAddress = orphans.whole.publicAddress
        wanted.manifestPath = source.manifestPath
        let plan = wanted.adopting(orphans.plan)
        let refusals = PlanChange(from: orphans.whole, to: wanted).refusals
        guard refusals.isEmpty, PlanChange(from: plan, to: wanted).isEmpty else {
            ports.release()
            throw Self.refusal(orphans.generation, refusals.first ?? "it does not run as it is planned now")
        }
        ports.settle(plan, isOutdated: false)
        self.orphans = orphans
        self.ports = ports
        self.plan = plan
        self.running = plan
        guard other != nil else { return }
        let names = Set((orphans.whole.replicas + orphans.plan.replicas).map(\.name))
        self.running.replicas.removeAll { !names.contains($0.name) }
    }

    /// One that was stopped for another one, and may be wanted again.
    ///
    /// - Parameters:
    ///   - generation: its number.
    ///   - source: what it was planned from.
    ///   - called: what `up` was called with.
    ///   - successor: what runs in its place.
    /// - Throws: `Refusal` when it cannot be planned any more.
    init(
        stopped generation: Int,
        _ source: GenerationSource,
        _ called: Preparation,
        for successor: Plan
    ) async throws(MigrationResumption.Refusal) {
        var preparation = try Self.preparation(generation, source, called)
        preparation.isMigration = true
        self.preparation = preparation
        self.ports = preparation.ports(.held)
        self.ports.follow(successor, beside: false)
        // They would find in their way what runs now.
        for preflight in successor.given?.preflights ?? [] {
            self.ports.setPreflight(preflight.command, preflight.value)
        }
        self.plan = try await Self.plan(self.preparation, self.ports)
        self.plan.publicAddress = successor.publicAddress
        self.plan.manifestPath = source.manifestPath
        self.running = self.plan
        self.orphans = nil
    }

    private static func preparation(
        _ generation: Int,
        _ source: GenerationSource,
        _ called: Preparation
    ) throws(MigrationResumption.Refusal) -> Preparation {
        do throws(Preparation.Failure) {
            return try Preparation(
                source,
                generation: generation,
                description: source.manifestPath == nil ? called.description : nil
            )
        } catch { throw Self.refusal(generation, error.lines.joined(separator: "; ")) }
    }

    private static func plan(
        _ preparation: Preparation,
        _ ports: PortSource
    ) async throws(MigrationResumption.Refusal) -> Plan {
        do throws(Preparation.Failure) { return try await preparation.plan(ports: ports) } catch {
            ports.release()
            throw Self.refusal(preparation.generation, error.lines.joined(separator: "; "))
        }
    }

    private static func refusal(_ generation: Int, _ reason: String) -> MigrationResumption.Refusal {
        MigrationResumption.Refusal("generation \(generation): \(reason)")
    }
}
