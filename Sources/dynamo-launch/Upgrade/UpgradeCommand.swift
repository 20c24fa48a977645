import ArgumentParser
import Deployment
import FoundationEssentials
import Glibc
import Supervisor

/// `upgrade`: another program takes over from a running launcher.
struct UpgradeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upgrade",
        abstract: "Let another dynamo-launch take over from a running launcher, without a pause of what runs.",
        discussion: """
            The launcher becomes the other program in place: its process stays the same one, and the processes of the deployment go on meanwhile and are \
            adopted. It is called as the launcher was, so it reads the manifest anew, and what that says otherwise is changed as by 'dynamo-launch apply'. \
            That change is shown first, and on a terminal nothing is done before you say so. \
            The manifest must say 'survive: true'. Requests go on while the programs change, which takes about a second; KV events pause.

            Examples:
              dynamo-launch upgrade
              dynamo-launch upgrade chat --binary /opt/dynamo-launch/bin/dynamo-launch
            """
    )

    static let keeperVersion = KeeperProtocol.version

    @Argument(help: "The deployment's name; not needed when only one runs.", completion: NameCompletion.running)
    var name: String?

    @Option(help: ArgumentHelp("The program that takes over; default: this one.", valueName: "path"))
    var binary: String?

    @Flag(help: "Do not ask before a changed manifest is applied with it.")
    var yes = false

    /// Asked by the launcher that is to be replaced.
    @Option(help: .hidden)
    var understands: Int?

    func run() async throws {
        if let understands {
            guard understands == Self.keeperVersion else {
                throw RunningDeployment.failure(
                    "error: this version cannot adopt what that launcher has started (\(understands), this is \(Self.keeperVersion))"
                )
            }
            return
        }
        let deployment = try await RunningDeployment.find(self.name)
        let binary = try self.program()
        // Why the manifest cannot be applied is said by the launcher, which refuses then.
        let change = (try? await deployment.client.change()).flatMap { $0.isEmpty ? nil : $0 }
        if let change {
            Terminal.print("the manifest has changed, and the upgrade applies it:\n" + ChangeRendering.text(change))
            guard self.yes || !ChangeQuestion.hasPerson || ChangeQuestion.isAgreedTo else {
                return Terminal.print("nothing was changed")
            }
        }
        let launcher = try await deployment.ask { try await $0.status() }.launcherPID
        try await deployment.ask { try await $0.upgrade(to: binary) }
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            if let status = try? await deployment.client.status(waitingFor: .ready, timeout: .seconds(60)) {
                guard status.state == .ready || status.state == .degraded else {
                    throw RunningDeployment.failure(
                        "error: deployment \(deployment.name) is \(status.state.rawValue) under \(binary)\(status.failure.map { ": \($0)" } ?? "")"
                    )
                }
                Terminal.print("\(deployment.name): runs under \(binary), launcher pid \(status.launcherPID)")
                if change != nil {
                    Terminal.print(
                        "the change of the manifest goes on: dynamo-launch events \(deployment.name) --follow"
                    )
                }
                return
            }
            try await Task.sleep(for: .milliseconds(50))
            // It ended before it had adopted anything: it would be the same process.
            if ForeignProcess(pid: Int32(launcher)) == nil, let orphan = await RunningDeployment.orphan(deployment.name)
            {
                throw RunningDeployment.failure(
                    "error: \(binary) ended before it had taken over; nothing is lost: \(orphan.words)"
                )
            }
        }
        throw RunningDeployment.failure("error: deployment \(deployment.name): \(binary) did not answer within 60 s")
    }

    /// The absolute path of the program.
    private func program() throws -> String {
        if let binary {
            return FilePathText.resolve(binary, against: FileManager.default.currentDirectoryPath)
        }
        guard let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
            throw RunningDeployment.failure("error: this program does not know where it is; say --binary PATH")
        }
        return path
    }
}
