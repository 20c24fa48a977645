import ArgumentParser
import Deployment
import FoundationEssentials
import Rollout
import Supervisor

/// `adopt`: what runs without a launcher, and the manifest that runs the same with one.
struct AdoptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "adopt",
        abstract: "Make a manifest of a deployment that other means have started, and say what must be stopped once.",
        discussion: """
            Finds this user's Dynamo processes (python -m dynamo.frontend, router, vllm, sglang, trtllm, mocker, and the programs \
            of this package) that no launcher runs, and shows what they were told, what differs between them and must not, and a \
            manifest that 'up' runs in their place. Nothing is stopped, started or changed.

            Examples:
              dynamo-launch adopt                            show what runs, and its manifest
              dynamo-launch adopt --name chat --write chat.yaml
              dynamo-launch adopt --pid 812 --pid 815 --json
            """
    )

    @Option(name: .customLong("pid"), help: "Only this process; may be repeated.")
    var pids: [Int32] = []

    @Option(help: "The deployment's name in the manifest; default: its Dynamo namespace, else 'adopted'.")
    var name: String?

    @Option(
        help: ArgumentHelp("Write the manifest into this file, which must not exist.", valueName: "file"),
        completion: .file(extensions: ["yaml", "yml"])
    )
    var write: String?

    @Flag(help: "Keep workers' ports, instead of having them chosen; two generations cannot run at once then.")
    var keepPorts = false

    @Flag(help: "Print what was found as JSON.")
    var json = false

    func validate() throws {
        if let pid = self.pids.first(where: { $0 < 1 }) { throw ValidationError("--pid \(pid) is no process") }
    }

    func run() async throws {
        if let file = self.write, FileManager.default.fileExists(atPath: file) {
            throw RunningDeployment.failure("error: '\(file)' exists already: remove it, or name another file")
        }
        let deployments = try await self.deployments()
        guard deployments.count == 1 || (self.write == nil && self.name == nil) else {
            Terminal.print(AdoptReport.table(deployments.flatMap(\.processes)))
            let lists = deployments.map { deployment in
                deployment.processes.map { "--pid \($0.pid)" }.joined(separator: " ")
            }
            throw RunningDeployment.failure(
                "error: these are \(deployments.count) deployments, and a manifest is for one: choose with one of\n"
                    + lists.map { "  dynamo-launch adopt \($0)" }.joined(separator: "\n")
            )
        }
        var reports: [AdoptReport] = []
        for deployment in deployments { reports.append(await self.report(deployment)) }
        if let file = self.write, let report = reports.first, report.errors.isEmpty {
            try self.save(report.manifest, in: file)
        }
        if self.json {
            Terminal.print(try JSONText.pretty(["deployments": reports]))
        } else {
            for (index, report) in reports.enumerated() {
                if index > 0 { Terminal.print("") }
                Terminal.print(report.text(isWritten: self.write != nil))
            }
        }
        guard reports.allSatisfy(\.errors.isEmpty) else {
            if self.write != nil { Terminal.printError("nothing was written: the manifest has errors") }
            throw ExitCode(1)
        }
    }

    // MARK: Finding

    private func deployments() async throws -> [FoundDeployment] {
        let (all, launched) = ProcessReader().processes { FoundProcess.isOne($0) }
        let byLauncher =
            launched.isEmpty
            ? "" : "; those that a launcher runs do not count: pid \(launched.map(String.init).joined(separator: ", "))"
        guard !all.isEmpty else {
            throw RunningDeployment.failure("error: no Dynamo process of this user runs\(byLauncher)")
        }
        for pid in self.pids where !all.contains(where: { $0.pid == pid }) {
            let reason =
                launched.contains(pid)
                ? "a launcher runs it already" : "it is no Dynamo process of this user, or does not run any more"
            throw RunningDeployment.failure("error: pid \(pid) cannot be adopted: \(reason)")
        }
        let chosen = all.filter { self.pids.isEmpty || self.pids.contains($0.pid) }.compactMap { FoundProcess($0) }
        return FoundDeployment.group(await ProcessQuestions.ask(chosen))
    }

    // MARK: The manifest

    private func report(_ deployment: FoundDeployment) async -> AdoptReport {
        let options = AdoptedManifest.Options(
            name: self.name,
            keepsPorts: self.keepPorts,
            path: ProcessInfo.processInfo.environment["PATH"]
        )
        let manifest = AdoptedManifest(deployment, options)
        let file = self.write ?? "\(manifest.name).yaml"
        return AdoptReport(
            deployment,
            manifest,
            AdoptionAdvice(deployment, manifest, options, file: file),
            errors: await Self.errors(of: manifest.text, variables: manifest.secrets, in: file)
        )
    }

    /// What `check` would say against it.
    static func errors(
        of text: String,
        variables: [String: String] = [:],
        in file: String
    ) async -> [String] {
        let source = GenerationSource(
            manifestPath: FilePathText.resolve(file, against: FileManager.default.currentDirectoryPath),
            manifestText: text,
            overrides: [],
            requestPlane: nil,
            arguments: []
        )
        do throws(Preparation.Failure) {
            let preparation = try Preparation(source, shownAs: file, variables: variables)
            _ = try await preparation.plan(ports: preparation.ports(.preview))
            return []
        } catch {
            return error.lines
        }
    }

    private func save(_ text: String, in file: String) throws {
        do {
            try Data(text.utf8).write(to: URL(filePath: file), options: .withoutOverwriting)
        } catch {
            throw RunningDeployment.failure("error: '\(file)' cannot be written: \(error)")
        }
    }
}
