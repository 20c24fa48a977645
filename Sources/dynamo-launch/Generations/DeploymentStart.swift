import ArgumentParser
import Deployment
import Rollout
import Supervisor
import Systemd

/// What `up` starts: the manifest as it was asked for, or the generation that a migration made of it before.
struct DeploymentStart: Sendable {
    /// Holds the deployment's lock.
    let host: DeploymentHost
    let journal: MigrationJournal
    /// What `up` was called with.
    let base: GenerationSource
    let preparation: Preparation
    let ports: PortSource
    let plan: Plan
    let listeners: PublicListeners
    /// What a person should know of earlier migrations.
    let notes: [String]
    /// The processes that go on under this launcher; `plan` has them as they run.
    var orphans: Orphans?
    /// The other generation of a migration that goes on.
    var second: SecondGeneration?
    /// Generations that went on as well, and are to be ended.
    var others: [Orphans] = []
    /// Whether the manifest wants them otherwise.
    var isOutdated = false

    /// Reads the manifest and the journal, and looks at the machine.
    ///
    /// - Parameters:
    ///   - options: the command line.
    ///   - passed: sockets that are open already.
    ///   - complain: says that nothing was started, and why, here and to the service manager.
    /// - Returns: what is to be started.
    /// - Throws: `ExitCode`, after the reason was said.
    static func prepare(
        _ options: ManifestOptions,
        _ passed: PassedSockets,
        complain: (String) -> ExitCode
    ) async throws -> DeploymentStart {
        do {
            let called = try Preparation(reading: options)
            let directories = try called.directories()
            let host = try await DeploymentHost.open(directories, deployment: called.manifest.name.value)
            let journal = try MigrationJournal(folder: directories.state)
            var reason: String?
            do throws(MigrationResumption.Refusal) {
                if let start = try await Self.resume(host, journal, called, passed) { return start }
            } catch { reason = error.description }
            return try await Self.begin(host, journal, called, passed, notResumed: reason)
        } catch let failure as Preparation.Failure {
            ServiceNotifier().failed(
                status: "nothing was started: the journal has the manifest's errors",
                exitStatus: 1
            )
            throw Preparation.report(failure)
        } catch let failure as Orphans.Failure {
            throw complain(failure.description)
        } catch let refusal as PublicListeners.Refusal {
            throw complain("\(refusal)")
        } catch {
            throw complain("\(error)")
        }
    }

    /// One generation; a migration that was under way is finished or undone.
    private static func begin(
        _ host: DeploymentHost,
        _ journal: MigrationJournal,
        _ called: Preparation,
        _ passed: PassedSockets,
        notResumed reason: String?
    ) async throws -> DeploymentStart {
        let recovery = journal.history.recovery(calledWith: called.source)
        let orphans = try Self.orphans(of: host, recovery)
        var notes = recovery.messages
        if let reason, let unfinished = journal.history.unfinished {
            notes.append("migration \(unfinished.began.migration) is not resumed: \(reason)")
        }
        do { for entry in recovery.entries { try journal.append(entry) } } catch {
            // The same records lead to the same start the next time: no reason not to serve.
            notes.append("\(error); the next start says the same again")
        }
        // What 'scale' has set ended with the launcher.
        var source = recovery.source ?? called.source
        source.scaled = orphans?.plan.given?.scaled
        let preparation =
            recovery.number == 1 && source == called.source
            ? called
            : try Preparation(
                source,
                generation: recovery.number,
                description: recovery.source?.manifestPath == nil ? called.description : nil
            )
        let ports = preparation.ports(.held)
        if let orphans { ports.adopt(orphans) }
        var plan = try await preparation.plan(ports: ports)
        let listeners = try PublicListeners(passed, plan: plan)
        plan.publicAddress = listeners.address ?? plan.publicAddress
        plan.notes += listeners.notes
        let wanted = plan
        if let orphans { plan = try Self.adopting(orphans, wanted) }
        // Nothing can go wrong with the manifest any more.
        let others = host.orphans.filter { $0.generation != orphans?.generation }
        for other in others {
            notes.append("generation \(other.generation), which went on without a launcher, is ended")
            // Beside one that goes on it first answers what it has.
            if orphans == nil { await other.end() }
        }
        let isOutdated = orphans != nil && PlanChange(from: plan, to: wanted).isEmpty == false
        if let orphans {
            notes.append(Self.note(of: [orphans]))
            ports.settle(plan, isOutdated: isOutdated)
        }
        return DeploymentStart(
            host: host,
            journal: journal,
            base: called.source,
            preparation: preparation,
            ports: ports,
            plan: plan,
            listeners: listeners,
            notes: notes,
            orphans: orphans,
            others: orphans == nil ? [] : others,
            isOutdated: isOutdated
        )
    }

    /// The generation that goes on under this launcher; nil: none does.
    ///
    /// - Throws: `Failure` when what serves would have to be ended only because the manifest is another one.
    private static func orphans(
        of host: DeploymentHost,
        _ recovery: MigrationHistory.Recovery
    ) throws(Orphans.Failure) -> Orphans? {
        let generation = recovery.number
        if let found = host.orphans.first(where: { $0.generation == generation }) { return found }
        // Of a migration that is undone the other generation may be all there is.
        let isForgotten = recovery.entries.contains { if case .forgot = $0 { true } else { false } }
        guard !host.orphans.isEmpty, isForgotten else { return nil }
        let numbers = host.orphans.map { "\($0.generation)" }.joined(separator: " and ")
        throw Orphans.Failure(
            description:
                "generation \(numbers) goes on without a launcher, and this manifest is for generation \(generation): "
                + "start with the manifest and the flags of before, or end it first with 'dynamo-launch stop \(host.orphans[0].plan.deployment)'"
        )
    }

    /// The plan with the processes as they run.
    private static func adopting(_ orphans: Orphans, _ wanted: Plan) throws(Orphans.Failure) -> Plan {
        let change = PlanChange(from: orphans.whole, to: wanted)
        guard change.refusals.isEmpty else {
            let name = wanted.deployment
            throw Orphans.Failure(
                description: change.refusals.joined(separator: "\n")
                    + "\nthe processes of '\(name)' go on without a launcher, as they were: start with the manifest that they were "
                    + "started with, or end them first with 'dynamo-launch stop \(name)'"
            )
        }
        return wanted.adopting(orphans.plan)
    }

    static func note(of orphans: [Orphans]) -> String {
        let ended = LogTime(milliseconds: Int64((orphans.map(\.launcherEnded).max() ?? 0) * 1000))
        let running = orphans.reduce(0) { $0 + $1.running }
        return "the launcher before this one ended at \(ended); its \(running) processes go on under this one"
    }
}
