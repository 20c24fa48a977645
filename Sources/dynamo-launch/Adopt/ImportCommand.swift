import ArgumentParser
import Deployment
import FoundationEssentials

/// `import`: a launch script as a manifest.
struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Make a manifest of a script that starts Dynamo's processes, and say what it could not carry over.",
        discussion: """
            Reads scripts of bash without running them: variables and their defaults, exported variables, branches, loops, and the \
            frontends, routers and workers that are started, as they are when the script is called without arguments. What \
            cannot be known without running the script is named with its line, and stands at the head of the manifest.

            Examples:
              dynamo-launch import disagg.sh                      show the manifest
              dynamo-launch import disagg.sh --write disagg.yaml
              dynamo-launch import --strict scripts/*.sh          fail when something is lost
            """
    )

    @Argument(help: "The scripts.", completion: .file(extensions: ["sh"]))
    var scripts: [String]

    @Option(help: "The deployment's name in the manifest; default: after the script.")
    var name: String?

    @Option(
        help: ArgumentHelp("Write the manifest into this file, which must not exist.", valueName: "file"),
        completion: .file(extensions: ["yaml", "yml"])
    )
    var write: String?

    @Flag(help: "End with 1 when something could not be carried over, or the manifest does not pass 'check'.")
    var strict = false

    @Flag(help: "Print manifests and findings as JSON.")
    var json = false

    /// What is said of one script.
    struct Report: Sendable, Codable {
        var script: String
        var name: String
        var processes: Int
        var manifest: String
        var findings: [ScriptFinding]
        /// What `check` says against the manifest on this machine.
        var errors: [String]

        var isWhole: Bool { self.errors.isEmpty && !self.findings.contains { $0.kind == .lost } }
    }

    func validate() throws {
        guard self.scripts.count == 1 || (self.name == nil && self.write == nil) else {
            throw ValidationError("--name and --write are for one script")
        }
    }

    func run() async throws {
        if let file = self.write, FileManager.default.fileExists(atPath: file) {
            throw RunningDeployment.failure("error: '\(file)' exists already: remove it, or name another file")
        }
        var reports: [Report] = []
        for script in self.scripts { reports.append(try await self.report(script)) }
        if let file = self.write, let report = reports.first {
            do {
                try Data(report.manifest.utf8).write(to: URL(filePath: file), options: .withoutOverwriting)
            } catch {
                throw RunningDeployment.failure("error: '\(file)' cannot be written: \(error)")
            }
        }
        if self.json {
            Terminal.print(try JSONText.pretty(["scripts": reports]))
        } else {
            for report in reports { self.show(report) }
        }
        guard !self.strict || reports.allSatisfy(\.isWhole) else { throw ExitCode(1) }
    }

    private func report(_ script: String) async throws -> Report {
        guard let data = FileManager.default.contents(atPath: script) else {
            throw RunningDeployment.failure("error: '\(script)' cannot be read: check the path")
        }
        guard data.count <= ManifestSource.sizeLimit, let text = String(validating: data, as: UTF8.self) else {
            throw RunningDeployment.failure("error: '\(script)' is no script: it is too long, or no UTF-8 text")
        }
        let manifest: ImportedManifest
        do throws(ShellSyntaxError) {
            manifest = try ImportedManifest(text, file: script, name: self.name)
        } catch {
            throw RunningDeployment.failure(
                "\(script):\(error.line): error: \(error.message)\n  remedy: 'bash -n \(script)' says what bash thinks of it"
            )
        }
        guard manifest.processes > 0 else {
            let lines = manifest.findings.map { "\n\(script):\($0.line): \($0.message)" }.joined()
            throw RunningDeployment.failure(
                "error: '\(script)' starts no frontend, router or worker that is found without running it" + lines
            )
        }
        return Report(
            script: script,
            name: manifest.name,
            processes: manifest.processes,
            manifest: manifest.text,
            findings: manifest.findings,
            errors: await AdoptCommand.errors(of: manifest.text, in: self.write ?? "\(manifest.name).yaml")
        )
    }

    /// The manifest can be sent to a file; what is said of it goes to the other stream.
    private func show(_ report: Report) {
        if self.write == nil { Terminal.printVerbatim(report.manifest) }
        for finding in report.findings {
            Terminal.printError(
                "\(report.script):\(finding.line): \(finding.kind == .lost ? "lost" : "note"): \(finding.message)"
            )
        }
        for line in report.errors { Terminal.printError(line) }
        let lost = report.findings.count { $0.kind == .lost }
        Terminal.printError(
            "\(report.script): \(report.processes) process\(report.processes == 1 ? "" : "es"), \(lost) thing\(lost == 1 ? "" : "s") not carried over"
                + (report.errors.isEmpty ? "" : "; the manifest does not pass 'check' on this machine")
                + (self.write.map { "; written to \($0)" } ?? "")
        )
    }
}
