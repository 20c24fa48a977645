import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc

/// `generate`: the deployment in the words of another manager of services.
struct GenerateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Write a deployment as files of another manager of services.",
        subcommands: [GenerateSystemdCommand.self, GenerateKubernetesCommand.self]
    )
}

/// `generate systemd`: units that run a manifest.
struct GenerateSystemdCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "systemd",
        abstract: "Print, write or install the systemd units that run a manifest.",
        discussion: """
            Without --output, --install or --uninstall the units are printed. Nothing is started: the commands that do are \
            printed. Secrets that the manifest takes from variables come from files that only the service manager reads.
            """
    )

    @OptionGroup var options: ManifestOptions
    @OptionGroup var fidelity: FidelityOptions

    @Flag(help: "For the service manager of this user, not for that of the machine.")
    var user = false

    @Option(
        help: ArgumentHelp(
            "The account that a service of the machine runs as; default: this one.",
            valueName: "account"
        )
    )
    var runAs: String?

    @Flag(help: "Put the service into dynamo-launch.slice, which all deployments share, and write that too.")
    var slice = false

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "Let systemd open the public port, and start the service for the first request.",
            discussion: "Default: only when the manifest has gateway.idleExit, which needs it."
        )
    )
    var socket: Bool?

    @Option(help: "Write the units into this folder.", completion: .directory)
    var output: String?

    @Flag(help: "Write the units where the service manager looks for them.")
    var install = false

    @Flag(help: "Remove the units that --install wrote.")
    var uninstall = false

    func validate() throws {
        if [self.output != nil, self.install, self.uninstall].count(where: { $0 }) > 1 {
            throw ValidationError("--output, --install and --uninstall exclude each other")
        }
        if self.user, self.runAs != nil {
            throw ValidationError("--run-as is for services of the machine: a service of --user runs as that user")
        }
    }

    func run() async throws {
        let preparation = try Preparation(self.options)
        let name = SystemdUnits.serviceName(of: preparation.manifest.name.value)
        let folder = self.unitFolder(preparation.environment)
        if self.uninstall {
            let socket = SystemdUnits.socketName(of: preparation.manifest.name.value)
            return try UnitFolder(path: folder).remove(name, socket: socket, control: self.control)
        }
        let plan = try await preparation.plan(leases: .preview)
        let files: [SystemdUnits.File]
        let hasSocket = self.socket ?? (plan.gateway?.idleExit != nil)
        let options = try self.unitOptions(preparation, hasSocket: hasSocket)
        do { files = try SystemdUnits(plan, options).files } catch {
            for diagnostic in error.diagnostics { Terminal.printError(diagnostic.description) }
            Terminal.printError("nothing was written")
            throw ExitCode(1)
        }
        try self.fidelity.tell(preparation.manifest, for: .systemd, FidelityReport.Facts(hasSocket: hasSocket))
        if let target = self.install ? folder : self.output {
            // One from before would still start the service.
            let stale = hasSocket ? [] : [SystemdUnits.socketName(of: plan.deployment)]
            try UnitFolder(path: target).write(files, removing: stale)
            self.advise(name, options, deployment: plan.deployment)
        } else {
            for (index, file) in files.enumerated() {
                Terminal.printVerbatim((index == 0 ? "" : "\n") + "# \(file.name)\n" + file.text)
            }
        }
    }

    // MARK: What the units need

    private var control: String { self.user ? "systemctl --user" : "systemctl" }

    private func unitFolder(_ environment: [String: String]) -> String {
        guard self.user else { return "/etc/systemd/system" }
        let configuration = environment["XDG_CONFIG_HOME"] ?? "\(environment["HOME"] ?? "/")/.config"
        return "\(configuration)/systemd/user"
    }

    private func unitOptions(_ preparation: Preparation, hasSocket: Bool) throws -> SystemdUnits.Options {
        let environment = preparation.environment
        let names = preparation.manifest.variables.union(["PATH", "DYN_HTTP_PORT"])
        let used = environment.filter { names.contains($0.key) && !$0.value.isEmpty }
        var arguments = self.options.plane.map { ["--\($0.rawValue)"] } ?? []
        for override in self.options.overrides { arguments += ["--set", override] }
        let path = preparation.path
        let isEmbedded = path == EmbeddedManifest.path
        var units = SystemdUnits.Options(
            scope: self.user ? .user : .system,
            user: self.runAs ?? Self.accountName,
            launcher: try Self.launcher(),
            arguments: arguments,
            manifest: isEmbedded ? nil : self.absolute(path),
            extra: self.options.extra,
            workingDirectory: isEmbedded ? "/" : FileManager.default.currentDirectoryPath,
            environment: used,
            secrets: Set(
                used.filter { Secrets.isSecret(name: $0, value: $1) || Secrets.credential(in: $1) != nil }.keys
            ),
            hasSlice: self.slice,
            hasSocket: hasSocket
        )
        units.preflightTime = preparation.manifest.preflight.map(\.timeout).reduce(0, +)
        return units
    }

    private func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
    }

    /// This program's own path.
    private static func launcher() throws -> String {
        guard let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
            Terminal.printError(
                "error: /proc/self/exe cannot be read, so the unit would not know its program: mount /proc"
            )
            throw ExitCode(1)
        }
        return path
    }

    private static var accountName: String {
        guard let entry = getpwuid(getuid()), let name = entry.pointee.pw_name else { return "\(getuid())" }
        return String(cString: name)
    }

    // MARK: What to do with them

    private func advise(_ name: String, _ options: SystemdUnits.Options, deployment: String) {
        for secret in options.secrets.sorted() {
            let path = SystemdUnits.credentialPath(secret, of: deployment, scope: options.scope)
            Terminal.print("put the value of \(secret) into \(path), readable by its owner only")
        }
        let socket = SystemdUnits.socketName(of: deployment)
        if !self.install {
            Terminal.print("copy them to \(self.user ? "~/.config/systemd/user" : "/etc/systemd/system"), then run:")
        } else {
            let what = options.hasSocket ? "to have its port opened" : "to start it"
            Terminal.print("\(what) now and at each start of the machine, run:")
        }
        Terminal.print("  \(self.control) daemon-reload")
        Terminal.print("  \(self.control) enable --now \(options.hasSocket ? socket : name)")
        if options.hasSocket {
            Terminal.print("the first request starts the deployment; to start it without one, run:")
            Terminal.print("  \(self.control) start \(name)")
        }
        Terminal.print("  \(self.control) status \(name)")
    }
}

/// A folder of units on this machine; says what it does.
struct UnitFolder {
    let path: String

    /// Writes units; one that somebody else wrote is left alone.
    ///
    /// - Parameters:
    ///   - files: the units.
    ///   - stale: units that are removed, if they are there and ours.
    /// - Throws: `ExitCode` after the error was printed.
    func write(_ files: [SystemdUnits.File], removing stale: [String] = []) throws {
        for file in files {
            let target = "\(self.path)/\(file.name)"
            guard self.isOurs(target) ?? true else {
                throw Self.failure("'\(target)' was not written by dynamo-launch: move it away, or use --output")
            }
        }
        for file in files {
            let target = "\(self.path)/\(file.name)"
            do {
                try FileManager.default.createDirectory(atPath: self.path, withIntermediateDirectories: true)
                try Data(file.text.utf8).write(to: URL(filePath: target), options: .atomic)
                guard chmod(target, 0o644) == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
            } catch {
                throw Self.failure("'\(target)' cannot be written (\(Self.words(error))): use sudo, --user or --output")
            }
            Terminal.print("wrote \(target)")
        }
        for name in stale where self.isOurs("\(self.path)/\(name)") ?? false { try self.remove("\(self.path)/\(name)") }
    }

    private func remove(_ target: String) throws {
        do { try FileManager.default.removeItem(atPath: target) } catch {
            throw Self.failure("'\(target)' cannot be removed (\(Self.words(error))): use sudo")
        }
        Terminal.print("removed \(target)")
    }

    /// Removes a service with its socket, and the slice when no other service is left.
    ///
    /// - Parameters:
    ///   - name: the service.
    ///   - socket: its socket, if there is one.
    ///   - control: the command that speaks to its service manager.
    /// - Throws: `ExitCode` after the error was printed.
    func remove(_ name: String, socket: String, control: String) throws {
        let target = "\(self.path)/\(name)"
        guard let isOurs = self.isOurs(target) else {
            throw Self.failure("there is no '\(target)': nothing to remove")
        }
        guard isOurs else { throw Self.failure("'\(target)' was not written by dynamo-launch: it is left alone") }
        var targets = [target]
        let hasSocket = self.isOurs("\(self.path)/\(socket)") ?? false
        if hasSocket { targets.append("\(self.path)/\(socket)") }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: self.path)) ?? []
        let others = names.filter { $0.hasPrefix("dynamo-launch-") && $0.hasSuffix(".service") && $0 != name }
        let slice = "\(self.path)/\(SystemdUnits.sliceName)"
        if others.isEmpty, self.isOurs(slice) ?? false { targets.append(slice) }
        for target in targets { try self.remove(target) }
        Terminal.print("to stop what still runs, and to forget the service, run:")
        Terminal.print("  \(control) disable --now \(hasSocket ? "\(socket) " : "")\(name)")
        Terminal.print("  \(control) daemon-reload")
    }

    /// Whether a file has our mark; nil: there is none.
    private func isOurs(_ path: String) -> Bool? {
        FileManager.default.contents(atPath: path).map {
            String(decoding: $0, as: UTF8.self).contains(SystemdUnits.mark)
        }
    }

    private static func words(_ error: any Error) -> String {
        if let error = error as? CocoaError, let code = (error.underlying as? POSIXError)?.code {
            return String(cString: strerror(code.rawValue))
        }
        return "\(error)"
    }

    private static func failure(_ message: String) -> ExitCode {
        Terminal.printError("error: \(message)")
        return ExitCode(1)
    }
}
