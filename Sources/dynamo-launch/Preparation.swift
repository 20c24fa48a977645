import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Supervisor
import Synchronization
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

    let selection: ManifestSelection
    let manifest: Manifest
    let environment: [String: String]
    private let extra: [String]

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
    init(_ options: ManifestOptions) throws(ExitCode) {
        do throws(Failure) { try self.init(reading: options) } catch { throw Self.report(error) }
    }

    /// Reads the manifest.
    ///
    /// - Throws: `Failure` with its errors.
    init(reading options: ManifestOptions) throws(Failure) {
        // What the service manager says to the launcher is not for the processes.
        var environment = ProcessInfo.processInfo.environment.filter { !ServiceEnvironment.variables.contains($0.key) }
        environment.merge(Credentials.variables(environment)) { first, _ in first }
        let (selection, manifest) = try Self.read(options, environment: environment)
        for warning in manifest.warnings { Terminal.printError(warning.description) }
        self.selection = selection
        self.manifest = manifest
        self.environment = environment
        self.extra = options.extra
    }

    private static func read(
        _ options: ManifestOptions,
        environment: [String: String]
    ) throws(Failure) -> (ManifestSelection, Manifest) {
        do {
            let subcommands = DynamoLaunch.configuration.subcommands.compactMap { $0.configuration.commandName }
            let selection = try ManifestSelection.select(options.manifest, subcommands: subcommands)
            let overrides = ManifestOverrides(requestPlane: options.plane?.rawValue, set: options.overrides)
            return (selection, try Manifest.load(selection.source, environment: environment, overrides: overrides))
        } catch let failure as ManifestSelection.Failure {
            throw Failure([failure.description])
        } catch let errors as ManifestErrors {
            throw Failure(errors)
        } catch {
            throw Failure(["error: \(error)"])
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

    /// Where ports of the plan come from; the same source gives the same process the same port again.
    func ports(_ leases: Leases) -> PortSource {
        PortSource(leases, deployment: self.manifest.name.value, environment: self.environment)
    }

    /// The plan of this machine.
    ///
    /// - Parameter ports: where ports come from.
    /// - Returns: the plan.
    /// - Throws: `Failure` with the errors of the manifest.
    func plan(ports: PortSource) async throws(Failure) -> Plan {
        var releases: [String: Result<DynamoRelease, ReleaseProblem>] = [:]
        while true {
            var unknown: Set<String> = []
            let facts = self.facts(
                detectRelease: { python in
                    if let known = releases[python] { return known }
                    unknown.insert(python)
                    return .failure(ReleaseProblem(reason: "not asked yet"))
                },
                leasePort: ports.port
            )
            let plan = Result { () throws(ManifestErrors) in try Planner.plan(self.manifest, facts: facts) }
            if unknown.isEmpty {
                do throws(ManifestErrors) { return try plan.get() } catch { throw Failure(error) }
            }
            for python in unknown { releases[python] = await ReleaseDetector.detect(python: python) }
        }
    }

    private func facts(
        detectRelease: @escaping (String) -> Result<DynamoRelease, ReleaseProblem>,
        leasePort: @escaping (PortRequest) throws -> Int
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
            passthroughArguments: self.extra
        )
    }

    /// Where this program is: our own frontend and worker lie beside it.
    private static var programDirectory: String {
        guard let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"),
            let slash = path.lastIndex(of: "/")
        else { return "." }
        return String(path[..<slash])
    }

    private static func report(_ failure: Failure) -> ExitCode {
        for line in failure.lines.dropLast() { Terminal.printError(line) }
        if let last = failure.lines.last {
            Terminal.printError(failure.lines.count > 1 ? "\(last); nothing was started" : last)
        }
        return ExitCode(1)
    }
}

/// Gives out ports, the same one when asked again for the same purpose.
final class PortSource: Sendable {
    private let leases: PortLeases
    private let isHeld: Bool
    private let deployment: String
    private let given: Mutex<[String: Int]> = Mutex([:])

    init(_ mode: Preparation.Leases, deployment: String, environment: [String: String]) {
        let root = DeploymentDirectories.runtimeRoot(environment: environment, userID: getuid())
        // A service of systemd may write only to its deployment's own folder, which is there already.
        let isForeign = access(root, F_OK) == 0 && access(root, W_OK) != 0
        self.leases = PortLeases(directory: isForeign ? "\(root)/\(deployment)" : root)
        self.isHeld = mode == .held
        self.deployment = deployment
    }

    func port(_ request: PortRequest) throws -> Int {
        let name = "\(request.process)-\(request.index)/\(request.name)"
        return try self.given.withLock { try self.port(request, name, &$0) }
    }

    private func port(_ request: PortRequest, _ name: String, _ given: inout [String: Int]) throws -> Int {
        if let port = given[name] { return port }
        let wanted = PortLeases.Request(name: name, kind: request.name == "system" ? .system : .general)
        let taken = request.avoiding.union(given.values)
        let port =
            self.isHeld
            ? try self.leases.lease([wanted], deployment: self.deployment, avoiding: taken)[0]
            : try self.leases.preview(wanted, deployment: self.deployment, avoiding: taken)
        given[name] = port
        return port
    }
}
