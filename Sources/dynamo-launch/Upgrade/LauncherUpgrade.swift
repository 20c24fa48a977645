import Deployment
import FoundationEssentials
import Glibc
import Supervisor

/// Another program in the place of the running launcher: the same process, and the same deployment, which it adopts.
struct LauncherUpgrade: Sendable {
    let start: DeploymentStart
    let fleet: GenerationFleet
    let output: ForegroundOutput

    /// Does it.
    ///
    /// - Parameter binary: the absolute path of the program.
    /// - Returns: why it was not done; else it does not return.
    func run(_ binary: String) async -> String {
        if let refusal = self.refusal { return "\(refusal); nothing was changed" }
        if let trouble = await Self.trouble(with: binary) { return "\(trouble); nothing was changed" }
        if let trouble = await self.manifestTrouble { return trouble }
        // Asking takes a while, in which something may have begun.
        if let refusal = self.refusal { return "\(refusal); nothing was changed" }
        self.output.say("upgrade: going on as \(binary)")
        await self.output.finish()
        return Self.replace(with: binary)
    }

    private var refusal: String? {
        guard let supervisor = self.fleet.supervisor, !self.fleet.isStopping else {
            return RolloutRefusal.stopping.description
        }
        guard supervisor.activePlan.survive else {
            return
                "only a deployment whose manifest says 'survive: true' outlives its launcher; with others: stop, and up again"
        }
        if self.fleet.isMigrating { return RolloutRefusal.migrating.description }
        if supervisor.isChanging { return "another restart or change is under way; ask again when it is done" }
        guard !self.start.listeners.isActivated else {
            return
                "the public port was passed by a service manager, which alone can pass it to another program: restart the service"
        }
        return nil
    }

    /// Why the other program could not go on with the manifest as it is now; nil: it could.
    ///
    /// It reads the manifest as `apply` does, and what cannot be changed while the deployment runs would keep it from adopting anything.
    private var manifestTrouble: String? {
        get async {
            guard let supervisor = self.fleet.supervisor else { return RolloutRefusal.stopping.description }
            do throws(RolloutRefusal) {
                _ = try await supervisor.apply(isDryRun: true)
                return nil
            } catch {
                guard error.cause == .badManifest else { return error.description }
                return "\(error.description)\nso the launcher that runs reads the manifest: "
                    + "what only the other program understands is written into it after the upgrade"
            }
        }
    }

    /// Why a program cannot take over; nil: it can.
    static func trouble(with binary: String) async -> String? {
        guard access(binary, X_OK) == 0 else {
            return "\(binary) cannot be executed: \(String(cString: strerror(errno)))"
        }
        let command = SingleCommand(
            [binary, "upgrade", "--understands", "\(UpgradeCommand.keeperVersion)"],
            environment: ProcessInfo.processInfo.environment,
            directory: "/",
            timeout: 20
        )
        let result = await command.run()
        guard let failure = result.failure else { return nil }
        let said = (result.errors.isEmpty ? result.output : result.errors).split(whereSeparator: \.isNewline).last
        return "\(binary) cannot take over: \(failure)\(said.map { ": \($0)" } ?? "")"
    }

    /// Executes the program as this process was called.
    private static func replace(with binary: String) -> String {
        var arguments = CommandLine.arguments
        arguments[0] = binary
        // Who waited for the first start has heard of it.
        if let index = arguments.firstIndex(of: "--ready-fd") {
            arguments.removeSubrange(index...min(index + 1, arguments.count - 1))
        }
        arguments.removeAll { $0.hasPrefix("--ready-fd=") || $0 == "--ready-when-changed" }
        let before = ([SIGINT, SIGTERM, SIGPIPE, SIGXFSZ] + (UpCommand.ignoredHangup ? [] : [SIGHUP])).map {
            ($0, Glibc.signal($0, SIG_DFL))
        }
        var (none, mask) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &mask)
        Supervisor.restoreDescriptorLimit()
        let failure = ProgramReplacement.execute(binary, arguments)
        // This launcher goes on.
        Supervisor.raiseDescriptorLimit()
        pthread_sigmask(SIG_SETMASK, &mask, nil)
        for (signal, handler) in before { Glibc.signal(signal, handler) }
        return failure
    }
}
