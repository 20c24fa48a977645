import ArgumentParser
import Deployment
import Supervisor

/// `doctor`: what is wrong with what runs, and what to do about it.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Examine what runs, also without a launcher, and explain what is wrong.",
        discussion: """
            With a name: the deployment of that launcher, also when it is gone. Without: all that run, and this user's Dynamo processes that no \
            launcher runs. Compares what the processes were told, what discovery has, who listens where, and what NATS servers say. Each \
            finding has its evidence and a remedy. Nothing is stopped, started or changed.

            Exit code: 0 when nothing was found but notes, else 1.

            Examples:
              dynamo-launch doctor                        all that runs
              dynamo-launch doctor chat --json            one deployment, for programs
              dynamo-launch doctor --pid 812 --pid 815    two processes of a script
            """
    )

    @Argument(
        help: "The deployment's name; default: all, and what no launcher runs.",
        completion: NameCompletion.running
    )
    var name: String?

    @Option(name: .customLong("pid"), help: "Only this process, which no launcher runs; may be repeated.")
    var pids: [Int32] = []

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if let pid = self.pids.first(where: { $0 < 1 }) { throw ValidationError("--pid \(pid) is no process") }
        if self.name != nil, !self.pids.isEmpty {
            throw ValidationError(
                "a name and --pid exclude each other: the processes of a launcher are examined together"
            )
        }
    }

    func run() async throws {
        var cases: [DoctorReport.Case] = []
        if self.pids.isEmpty {
            let orphans = RunningDeployment.orphans(self.name)
            for orphan in orphans { cases.append(await Self.orphaned(orphan)) }
            var names: [String] = []
            if let name { names = orphans.isEmpty ? [name] : [] } else { names = RunningDeployment.names }
            for name in names {
                do { cases.append(try await self.launched(name)) } catch let code as ExitCode {
                    // It was said why; the others may be examined nevertheless.
                    if self.name != nil { throw code }
                }
            }
        }
        if self.name == nil {
            let (found, launched) = ProcessReader().processes { FoundProcess.isOne($0) }
            for pid in self.pids where !found.contains(where: { $0.pid == pid }) {
                throw RunningDeployment.failure(
                    launched.contains(pid)
                        ? "error: a launcher runs pid \(pid): examine its deployment with: dynamo-launch doctor NAME"
                        : "error: pid \(pid) is no Dynamo process of this user, or does not run any more"
                )
            }
            let chosen = found.filter { self.pids.isEmpty || self.pids.contains($0.pid) }
            if !chosen.isEmpty { cases.append(await Self.report(chosen)) }
        }
        guard !cases.isEmpty else {
            throw RunningDeployment.failure(
                "error: no deployment and no Dynamo process of this user runs here; start one with: dynamo-launch up"
            )
        }
        let report = DoctorReport(cases)
        Terminal.print(self.json ? try JSONText.pretty(report) : report.text)
        if report.errors + report.warnings > 0 { throw ExitCode(1) }
    }

    private func launched(_ name: String) async throws -> DoctorReport.Case {
        let deployment = try await RunningDeployment.find(name)
        let (status, lines) = try await deployment.ask { client in
            let status = try await client.status()
            var lines: [String: [String]] = [:]
            for replica in status.replicas where replica.state != .ready || replica.restarts > 0 {
                try await client.logs(of: replica.name, lines: 5) { lines[replica.name, default: []].append($0.text) }
            }
            return (status, lines)
        }
        let leaders = Set(status.replicas.compactMap(\.pid))
        let (found, _) = ProcessReader().processes(under: leaders) { FoundProcess.isOne($0) }
        return await Self.report(found, launched: DoctorFacts.Launched(status, lines: lines))
    }

    /// A deployment that goes on without its launcher.
    private static func orphaned(_ orphan: OrphanedDeployment) async -> DoctorReport.Case {
        let (found, _) = ProcessReader().processes(under: orphan.leaders) { FoundProcess.isOne($0) }
        let orphaned = DoctorFacts.Orphaned(
            name: orphan.name,
            launcherEnded: orphan.launcherEndedWords,
            running: orphan.running,
            ended: orphan.ended
        )
        return await self.report(found, orphaned: orphaned)
    }

    private static func report(
        _ processes: [RunningProcess],
        launched: DoctorFacts.Launched? = nil,
        orphaned: DoctorFacts.Orphaned? = nil
    ) async -> DoctorReport.Case {
        let found = await ProcessQuestions.ask(processes.compactMap { FoundProcess($0) })
        var facts = await Examination(processes: found).facts(launched: launched)
        facts.orphaned = orphaned
        return DoctorReport.Case(
            deployment: launched?.name ?? orphaned?.name,
            processes: found.map { .init(pid: $0.pid, component: $0.component) },
            findings: Doctor(facts).findings
        )
    }
}

extension DoctorFacts.Launched {
    fileprivate init(_ status: DeploymentStatus, lines: [String: [String]]) {
        self.init(
            name: status.deployment,
            failure: status.failure,
            warnings: status.warnings + status.survivors.map { "not killed: \($0)" },
            replicas: status.replicas.map { replica in
                Replica(
                    name: replica.name,
                    role: replica.role,
                    state: replica.state.rawValue,
                    waitingFor: replica.waitingFor,
                    lastExit: replica.lastExit,
                    // What somebody has asked for is no finding.
                    restarts: replica.restarts - (replica.restartsAskedFor ?? 0),
                    lines: lines[replica.name] ?? [],
                    logFile: replica.logFile
                )
            }
        )
    }
}
