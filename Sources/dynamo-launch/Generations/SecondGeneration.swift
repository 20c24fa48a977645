import Deployment
import Rollout
import Supervisor

/// The generation beside the one that serves, in a migration that an earlier launcher has begun and this one goes on with.
struct SecondGeneration: Sendable {
    /// With its processes as they run.
    let plan: Plan
    /// Its processes.
    let orphans: Orphans
    let source: GenerationSource
    let ports: PortSource
    let migration: PlannedMigration
    let resumption: MigrationResumption
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
        let old = try Self.orphans(of: host, began.fromNumber)
        let new = try Self.orphans(of: host, began.toNumber)
        guard old.whole.publicAddress == new.whole.publicAddress else {
            throw MigrationResumption.Refusal("its generations are not for the same public address")
        }
        var from = try await KeptGeneration(old, resumption.fromSource, called)
        var to: KeptGeneration
        do throws(MigrationResumption.Refusal) { to = try await KeptGeneration(new, began.source, called) } catch {
            from.ports.release()
            throw error
        }
        do {
            let listeners = try PublicListeners(passed, plan: resumption.isCommitted ? to.plan : from.plan)
            from.plan.publicAddress = listeners.address ?? from.plan.publicAddress
            to.plan.publicAddress = listeners.address ?? to.plan.publicAddress
            let migration = PlannedMigration(
                from: from.plan,
                to: to.plan,
                fromSource: resumption.fromSource,
                source: began.source,
                base: began.base,
                settings: resumption.settings,
                asksPerson: resumption.asksPerson,
                plan: try MigrationPlan(
                    from: MigrationPlan.Side(number: began.fromNumber, plan: from.plan),
                    to: MigrationPlan.Side(number: began.toNumber, plan: to.plan),
                    settings: resumption.settings,
                    confirms: resumption.asksPerson,
                    devices: to.ports.devices.known
                )
            )
            let (first, second) = resumption.isCommitted ? (to, from) : (from, to)
            var plan = first.plan
            plan.notes += listeners.notes
            return DeploymentStart(
                host: host,
                journal: journal,
                base: called.source,
                preparation: first.preparation,
                ports: first.ports,
                plan: plan,
                listeners: listeners,
                notes: [Self.note(of: [old, new])],
                orphans: first.orphans,
                second: SecondGeneration(
                    plan: second.plan,
                    orphans: second.orphans,
                    source: second.preparation.source,
                    ports: second.ports,
                    migration: migration,
                    resumption: resumption
                ),
                others: host.orphans.filter { ![began.fromNumber, began.toNumber].contains($0.generation) }
            )
        } catch {
            from.ports.release()
            to.ports.release()
            throw MigrationResumption.Refusal("\(error)")
        }
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

/// A generation that went on without a launcher, planned as it was before.
private struct KeptGeneration {
    let orphans: Orphans
    let preparation: Preparation
    let ports: PortSource
    var plan: Plan

    /// - Parameters:
    ///   - orphans: its processes.
    ///   - source: what it was planned from.
    ///   - called: what `up` was called with.
    /// - Throws: `Refusal` when it would be another one now.
    init(
        _ orphans: Orphans,
        _ source: GenerationSource,
        _ called: Preparation
    ) async throws(MigrationResumption.Refusal) {
        var source = source
        source.scaled = orphans.plan.given?.scaled
        do throws(Preparation.Failure) {
            self.preparation = try Preparation(
                source,
                generation: orphans.generation,
                description: source.manifestPath == nil ? called.description : nil
            )
        } catch { throw Self.refusal(orphans, error.lines.joined(separator: "; ")) }
        let ports = self.preparation.ports(.held)
        ports.keep(orphans.plan)
        var wanted: Plan
        do throws(Preparation.Failure) { wanted = try await self.preparation.plan(ports: ports) } catch {
            ports.release()
            throw Self.refusal(orphans, error.lines.joined(separator: "; "))
        }
        wanted.publicAddress = orphans.whole.publicAddress
        wanted.manifestPath = source.manifestPath
        let plan = wanted.adopting(orphans.plan)
        let refusals = PlanChange(from: orphans.whole, to: wanted).refusals
        guard refusals.isEmpty, PlanChange(from: plan, to: wanted).isEmpty else {
            ports.release()
            throw Self.refusal(orphans, refusals.first ?? "it does not run as it is planned now")
        }
        self.orphans = orphans
        self.ports = ports
        self.plan = plan
    }

    private static func refusal(_ orphans: Orphans, _ reason: String) -> MigrationResumption.Refusal {
        MigrationResumption.Refusal("generation \(orphans.generation): \(reason)")
    }
}
