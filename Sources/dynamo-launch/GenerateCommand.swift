import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc

/// `generate`: the deployment in the words of another manager of services.
struct GenerateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Write a deployment as files of another manager of services.",
        subcommands: [GenerateSystemdCommand.self]
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
        if self.uninstall { return try UnitFolder(path: folder).remove(name, control: self.control) }
        let plan = try await preparation.plan(leases: .preview)
        let files: [SystemdUnits.File]
        let options = try self.unitOptions(preparation)
        do { files = try SystemdUnits(plan, options).files } catch {
            for diagnostic in error.diagnostics { Terminal.printError(diagnostic.description) }
            Terminal.printError("nothing was written")
            throw ExitCode(1)
        }
        if let target = self.install ? folder : self.output {
            try UnitFolder(path: target).write(files)
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

    private func unitOptions(_ preparation: Preparation) throws -> SystemdUnits.Options {
        let environment = preparation.environment
        let names = preparation.manifest.variables.union(["PATH", "DYN_HTTP_PORT"])
        let used = environment.filter { names.contains($0.key) && !$0.value.isEmpty }
        var arguments = self.options.plane.map { ["--\($0.rawValue)"] } ?? []
        for override in self.options.overrides { arguments += ["--set", override] }
        let path = preparation.selection.source.path
        let isEmbedded = path == EmbeddedManifest.path
        return SystemdUnits.Options(
            scope: self.user ? .user : .system,
            user: self.runAs ?? Self.accountName,
            launcher: try Self.launcher(),
            arguments: arguments,
            manifest: isEmbedded ? nil : self.absolute(path),
            extra: self.options.extra,
            workingDirectory: isEmbedded ? "/" : FileManager.default.currentDirectoryPath,
            environment: used,
            secrets: Set(used.keys.filter { Secrets.isSecret(name: $0) }),
            hasSlice: self.slice
        )
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
        if !self.install {
            Terminal.print("copy them to \(self.user ? "~/.config/systemd/user" : "/etc/systemd/system"), then run:")
        } else {
            Terminal.print("to start it now and at each start of the machine, run:")
        }
        Terminal.print("  \(self.control) daemon-reload")
        Terminal.print("  \(self.control) enable --now \(name)")
        Terminal.print("  \(self.control) status \(name)")
    }
}

/// A folder of units on this machine; says what it does.
struct UnitFolder {
    let path: String

    /// Writes units; one that somebody else wrote is left alone.
    ///
    /// - Parameter files: the units.
    /// - Throws: `ExitCode` after the error was printed.
    func write(_ files: [SystemdUnits.File]) throws {
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
    }

    /// Removes a service, and the slice when no other service is left.
    ///
    /// - Parameters:
    ///   - name: the service.
    ///   - control: the command that speaks to its service manager.
    /// - Throws: `ExitCode` after the error was printed.
    func remove(_ name: String, control: String) throws {
        let target = "\(self.path)/\(name)"
        guard let isOurs = self.isOurs(target) else {
            throw Self.failure("there is no '\(target)': nothing to remove")
        }
        guard isOurs else { throw Self.failure("'\(target)' was not written by dynamo-launch: it is left alone") }
        var targets = [target]
        let names = (try? FileManager.default.contentsOfDirectory(atPath: self.path)) ?? []
        let others = names.filter { $0.hasPrefix("dynamo-launch-") && $0.hasSuffix(".service") && $0 != name }
        let slice = "\(self.path)/\(SystemdUnits.sliceName)"
        if others.isEmpty, self.isOurs(slice) ?? false { targets.append(slice) }
        for target in targets {
            do { try FileManager.default.removeItem(atPath: target) } catch {
                throw Self.failure("'\(target)' cannot be removed (\(Self.words(error))): use sudo")
            }
            Terminal.print("removed \(target)")
        }
        Terminal.print("to stop what still runs, and to forget the service, run:")
        Terminal.print("  \(control) disable --now \(name)")
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
