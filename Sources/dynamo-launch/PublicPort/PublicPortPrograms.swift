import Deployment
import FoundationEssentials
import Gateway
import Glibc
import Supervisor

/// Starts this program once more, to serve the public port.
struct PublicPortPrograms: GatewayPrograms {
    let host: DeploymentHost
    /// What it writes when it crashes; what it logs goes to the launcher.
    let logFile: String
    /// Whether it goes on when the launcher ends without a word.
    let survives: Bool

    /// - Parameters:
    ///   - host: the deployment's.
    ///   - survives: whether the process goes on when the launcher ends without a word.
    init(host: DeploymentHost, survives: Bool) {
        self.host = host
        self.survives = survives
        self.logFile = "\(host.directories.state)/public-port.log"
    }

    /// Where a gateway of this deployment takes commands.
    static func controlSocket(of host: DeploymentHost) -> String { "\(host.directories.runtime)/gateway.sock" }

    func run(
        _ configuration: [UInt8],
        sockets: [Int32],
        _ body: @escaping @Sendable (_ processID: Int32) async -> Void
    ) async -> String {
        let log = open(self.logFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard log >= 0 else { return "cannot open \(self.logFile): \(String(cString: strerror(errno)))" }
        defer { close(log) }
        guard let file = MemoryFile.holding(configuration) else {
            return "no file for its configuration: \(String(cString: strerror(errno)))"
        }
        defer { close(file) }
        let program = KeptProgram(
            Self.executable,
            arguments: ["serve-public-port"],
            environment: Self.environment,
            directory: "/",
            descriptors: [log, log, file] + sockets,
            in: self.host,
            survives: self.survives
        )
        let end = await program.run(body)
        return "\(end); what it wrote last: \(self.logFile)"
    }

    func adopt(_ processID: Int32, _ body: @escaping @Sendable () async -> Void) async -> String {
        if let end = await KeptProgram.adopt(processID, in: self.host, survives: self.survives, body) {
            return "\(end); what it wrote last: \(self.logFile)"
        }
        // Its keeper is gone, and nobody tells how it ends.
        await body()
        await ForeignProcess(pid: processID)?.end()
        return "it is gone"
    }

    /// This program, by its name if it still has one.
    private static var executable: String {
        let own = "/proc/self/exe"
        guard let path = try? FileManager.default.destinationOfSymbolicLink(atPath: own), access(path, X_OK) == 0 else {
            return own
        }
        return path
    }

    /// What the service manager gave is the launcher's alone.
    private static var environment: [String] {
        let own = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]
        return ProcessInfo.processInfo.environment.filter { !own.contains($0.key) }.map { "\($0.key)=\($0.value)" }
            .sorted()
    }
}
