import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Rollout
import Supervisor
import Systemd

/// From the command line to a plan: finds the manifest, reads it, and looks at the machine.
struct Preparation {
    /// What happens to ports that the launcher chooses.
    enum Leases {
        /// Shown only: free at this moment.
        case preview
        /// Held by this process for as long as it lives.
        case held
    }

    /// Which manifest it is, for the first line of output.
    let description: String
    /// How messages call the manifest.
    let path: String
    /// Enough to prepare the same again.
    let source: GenerationSource
    /// Which generation of the deployment is prepared.
    let generation: Int
    let manifest: Manifest
    let environment: [String: String]
    /// Whether the generation before still runs, and has what this one will get.
    var isMigration = false

    /// Why there is no plan.
    struct Failure: Error {
        /// Lines for people, one for each error.
        var lines: [String]

        init(_ lines: [String]) { self.lines = lines }

        init(_ errors: ManifestErrors) {
            let count = errors.diagnostics.count { $0.severity == .error }
            self.lines = errors.diagnostics.map(\.description) + ["\(count) error\(count == 1 ? "" : "s")"]
        }
    }

    /// Reads the manifest, or says what is wrong with it and ends.
    ///
    /// - Parameters:
    ///   - options: as they were given.
    ///   - consequence: what was not done because of it.
    /// - Throws: `ExitCode` after its errors were printed.
    init(_ options: ManifestOptions, orElse consequence: String = "nothing was started") throws(ExitCode) {
        do throws(Failure) { try self.init(reading: options) } catch {
            throw Self.report(error, orElse: consequence)
        }
    }

    /// Reads the manifest.
    ///
    /// - Throws: `Failure` with its errors.
    init(reading options: ManifestOptions) throws(Failure) {
        let selection: ManifestSelection
        do {
            let subcommands = DynamoLaunch.configuration.subcommands.compactMap { command in
                command.configuration.shouldDisplay ? command.configuration.commandName : nil
            }
            selection = try ManifestSelection.select(options.manifest, subcommands: subcommands)
        } catch let failure as ManifestSelection.Failure {
            throw Failure([failure.description])
        } catch let errors as ManifestErrors {
            throw Failure(errors)
        } catch {
            throw Failure(["error: \(error)"])
        }
        let source = GenerationSource(
            manifestPath: selection.source.path == EmbeddedManifest.path
                ? nil : FilePathText.resolve(selection.source.path, against: FileManager.default.currentDirectoryPath),
            manifestText: selection.source.text,
            overrides: options.overrides,
            requestPlane: options.plane?.rawValue,
            arguments: options.extra
        )
        try self.init(source, shownAs: selection.source.path, description: selection.description)
    }

    /// Takes a manifest that was read.
    ///
    /// - Parameters:
    ///   - source: the manifest and what is changed in it.
    ///   - generation: which generation of the deployment it is for.
    ///   - path: how messages call the manifest; nil: by its absolute path.
    ///   - description: for the first line of output; nil: the path.
    ///   - variables: what the caller's environment is taken to have besides.
    /// - Throws: `Failure` with its errors.
    init(
        _ source: GenerationSource,
        generation: Int = 1,
        shownAs path: String? = nil,
        description: String? = nil,
        variables: [String: String] = [:]
    ) throws(Failure) {
        // What the service manager says to the launcher is not for the processes.
        var environment = ProcessInfo.processInfo.environment.filter { !ServiceEnvironment.variables.contains($0.key) }
        environment.merge(Credentials.variables(environment)) { first, _ in first }
        environment.merge(variables) { first, _ in first }
        let path = path ?? source.manifestPath ?? EmbeddedManifest.path
        do throws(ManifestErrors) {
            self.manifest = try Manifest.load(
                ManifestSource(path: path, text: source.manifestText),
                environment: environment,
                overrides: ManifestOverrides(requestPlane: source.requestPlane, set: source.settings)
            )
        } catch { throw Failure(error) }
        for warning in self.manifest.warnings { Terminal.printError(warning.description) }
        self.description = description ?? path
        self.path = path
        self.source = source
        self.generation = generation
        self.environment = environment
    }

    /// The folders of the deployment, whatever its generation.
    ///
    /// - Throws: `Failure` when they cannot be used.
    func directories() throws(Failure) -> DeploymentDirectories {
        let facts = self.facts(
            detectRelease: { _ in .failure(ReleaseProblem(reason: "not asked")) },
            leasePort: { _ in 0 }
        )
        do throws(ManifestErrors) { return try Planner.directories(of: self.manifest, facts: facts) } catch {
            throw Failure(error)
        }
    }

    /// The plan of this machine.
    ///
    /// A plan needs to know which release of Dynamo each interpreter has, and asking one takes time and another process. So the
    /// planner is asked again for each interpreter that it turns out to need.
    func plan(leases: Leases) async throws(ExitCode) -> Plan {
        try await self.plan(leases: self.ports(leases))
    }

    /// The plan of this machine, or what is wrong is said.
    func plan(leases: PortSource) async throws(ExitCode) -> Plan {
        do throws(Failure) { return try await self.plan(ports: leases) } catch { throw Self.report(error) }
    }

    /// The release of Dynamo that this machine has; nil: the manifest states one, none is needed, or there is none.
    func installedRelease() async -> DynamoRelease? {
        var interpreter: String?
        let facts = self.facts(
            detectRelease: { python in
                interpreter = interpreter ?? python
                return .failure(ReleaseProblem(reason: "not asked yet"))
            },
            leasePort: { _ in 0 }
        )
        _ = try? Planner.plan(self.manifest, facts: facts)
        guard let interpreter else { return nil }
        return try? await ReleaseDetector.detect(python: interpreter).get()
    }

    /// Where ports of the plan come from; the same source gives the same process the same port again.
    func ports(_ leases: Leases) -> PortSource {
        let name = self.manifest.name.value
        return PortSource(leases, deployment: name, generation: self.generation)
    }

    /// The plan of this machine.
    ///
    /// - Parameter ports: where ports come from.
    /// - Returns: the plan.
    /// - Throws: `Failure` with the errors of the manifest.
    func plan(ports: PortSource) async throws(Failure) -> Plan {
        var releases: [String: Result<DynamoRelease, ReleaseProblem>] = [:]
        // Run once it is known that nothing else is wrong.
        var preflight: [String: String]?
        let machine = await self.machineDevices()
        if let machine { ports.devices.see(machine) }
        var races = 0
        while true {
            var unknown: Set<String> = []
            let facts = self.facts(
                detectRelease: { python in
                    if let known = releases[python] { return known }
                    unknown.insert(python)
                    return .failure(ReleaseProblem(reason: "not asked yet"))
                },
                leasePort: ports.port,
                preflight: preflight,
                inherited: ports.inherited,
                devices: self.deviceFacts(machine, ports)
            )
            let plan = Result { () throws(ManifestErrors) in try Planner.plan(self.manifest, facts: facts) }
            if unknown.isEmpty {
                let plan = Result { () throws(Failure) in
                    do throws(ManifestErrors) { return try plan.get() } catch { throw Failure(error) }
                }
                var checked = try self.checkingLimits(of: try plan.get(), isStarted: ports.isHeld)
                if ports.isHeld, let machine, try await !self.take(checked, machine, ports, mayFail: races < 5) {
                    // Another launcher was faster: there may be other devices.
                    races += 1
                    continue
                }
                let commands = Preflight(
                    environment: self.environment.merging(self.isMigration ? Preflight.migration : [:]) { $1 }
                )
                if ports.isHeld, preflight == nil, !self.manifest.preflight.isEmpty {
                    preflight = try await commands.values(self.manifest.preflight, ports)
                    continue
                }
                checked.notes += [machine?.note].compactMap(\.self)
                checked.notes += self.manifest.preflight.map { commands.note(of: $0, preflight) }
                if checked.survive, ports.isHeld {
                    checked.given = StartValues(preflights: ports.preflightValues, scaled: self.source.scaled)
                }
                return checked
            }
            for python in unknown { releases[python] = await ReleaseDetector.detect(python: python) }
        }
    }

    /// What this machine does not allow keeps a plan from being started, and is a note of one that is only shown.
    private func checkingLimits(of plan: Plan, isStarted: Bool) throws(Failure) -> Plan {
        guard plan.replicas.contains(where: { $0.limits != nil }) else { return plan }
        let machine = MachineLimits.current()
        var plan = plan
        var lines: [String] = []
        // All replicas of a process have the same.
        for replica in plan.replicas where replica.index == 0 {
            for obstacle in replica.limits.map(machine.obstacles) ?? [] {
                plan.notes.append("process '\(replica.process)' cannot be started here: \(obstacle)")
                lines.append("\(replica.origin ?? self.path): error: process '\(replica.process)': \(obstacle)")
            }
        }
        guard isStarted, !lines.isEmpty else { return plan }
        throw Failure(lines + ["\(lines.count) error\(lines.count == 1 ? "" : "s")"])
    }

    private func facts(
        detectRelease: @escaping (String) -> Result<DynamoRelease, ReleaseProblem>,
        leasePort: @escaping (PortRequest) throws -> Int,
        preflight: [String: String]? = nil,
        inherited: [String: String]? = nil,
        devices: DeviceFacts = DeviceFacts()
    ) -> PlanFacts {
        PlanFacts(
            environment: self.environment,
            workingDirectory: FileManager.default.currentDirectoryPath,
            homeDirectory: self.environment["HOME"] ?? "/",
            builtinDirectory: Self.programDirectory,
            temporaryDirectory: "/tmp",
            userID: getuid(),
            isExecutable: { path in
                var isDirectory = false
                return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && !isDirectory
                    && access(path, X_OK) == 0
            },
            directoryExists: { path in
                var isDirectory = false
                return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory
            },
            detectRelease: detectRelease,
            leasePort: leasePort,
            passthroughArguments: self.source.arguments,
            preflight: preflight,
            generation: self.generation,
            inherited: inherited,
            devices: devices
        )
    }

    /// Where this program is: our own frontend and worker lie beside it.
    private static var programDirectory: String {
        guard let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"),
            let slash = path.lastIndex(of: "/")
        else { return "." }
        return String(path[..<slash])
    }

    /// Says what is wrong, and what was not done because of it.
    static func report(_ failure: Failure, orElse consequence: String = "nothing was started") -> ExitCode {
        for line in failure.lines.dropLast() { Terminal.printError(line) }
        if let last = failure.lines.last {
            Terminal.printError(failure.lines.count > 1 ? "\(last); \(consequence)" : last)
        }
        return ExitCode(1)
    }
}
