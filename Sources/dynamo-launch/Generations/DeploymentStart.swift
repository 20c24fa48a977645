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
            let recovery = journal.history.recovery(calledWith: called.source)
            var notes = recovery.messages
            do { for entry in recovery.entries { try journal.append(entry) } } catch {
                // The same records lead to the same start the next time: no reason not to serve.
                notes.append("\(error); the next start says the same again")
            }
            // What 'scale' has set ended with the launcher.
            var source = recovery.source ?? called.source
            source.scaled = nil
            let preparation =
                recovery.number == 1
                ? called
                : try Preparation(
                    source,
                    generation: recovery.number,
                    description: recovery.source?.manifestPath == nil ? called.description : nil
                )
            let ports = preparation.ports(.held)
            var plan = try await preparation.plan(ports: ports)
            let listeners = try PublicListeners(passed, plan: plan)
            plan.publicAddress = listeners.address ?? plan.publicAddress
            plan.notes += listeners.notes
            return DeploymentStart(
                host: host,
                journal: journal,
                base: called.source,
                preparation: preparation,
                ports: ports,
                plan: plan,
                listeners: listeners,
                notes: notes
            )
        } catch let failure as Preparation.Failure {
            ServiceNotifier().failed(
                status: "nothing was started: the journal has the manifest's errors",
                exitStatus: 1
            )
            throw Preparation.report(failure)
        } catch let refusal as PublicListeners.Refusal {
            throw complain("\(refusal)")
        } catch {
            throw complain("\(error)")
        }
    }
}
