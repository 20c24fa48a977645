import Deployment
import FoundationEssentials
import Glibc
import Subprocess
import Supervisor
import SystemPackage

/// The same manifest started once on each request plane, side by side, each with a name and a public port of its own.
struct PlaneDeployments {
    private let manifest: String?
    private let environment: [String: String]

    /// Names what to start.
    ///
    /// - Parameter manifest: a file; nil as for `up`.
    init(manifest: String?) {
        self.manifest = manifest
        self.environment = ProcessInfo.processInfo.environment
    }

    /// How long a deployment may take until it serves: models load.
    private static let patience = Duration.seconds(900)

    /// Starts the deployments, runs the body with the plane and name of each that serves, and stops them.
    ///
    /// - Parameter body: measures them.
    /// - Throws: an exit code when none serves, or what the body throws.
    func whileRunning(_ body: ([(plane: String, name: String)]) async throws -> Void) async throws {
        let ports = try self.ports(count: PlaneFlag.allCases.count)
        try await withThrowingTaskGroup(of: Event.self) { group in
            for (plane, port) in zip(PlaneFlag.allCases, ports) {
                let name = "bench-\(getpid())-\(plane.rawValue)"
                group.addTask { .ended(plane, try await self.deployment(plane, name: name, port: port)) }
                group.addTask { await self.waitUntilReady(plane, name: name) }
            }
            var ready: [(plane: String, name: String)] = []
            var open = Set(PlaneFlag.allCases)
            while !open.isEmpty, let event = try await group.next() {
                switch event {
                case .ready(let plane, let name):
                    if open.remove(plane) != nil { ready.append((plane.rawValue, name)) }
                case .notReady(let plane, let reason):
                    guard open.remove(plane) != nil else { continue }
                    Terminal.printError("\(plane.rawValue): left out: \(reason)")
                case .ended(let plane, let words):
                    guard open.remove(plane) != nil else { continue }
                    Terminal.printError("\(plane.rawValue): left out, its deployment did not start:\n\(words)")
                }
            }
            let order = PlaneFlag.allCases.map(\.rawValue)
            ready.sort { (order.firstIndex(of: $0.plane) ?? 0) < (order.firstIndex(of: $1.plane) ?? 0) }
            let result: Result<Void, any Error>
            do {
                guard !ready.isEmpty else { throw RunningDeployment.failure("error: no plane could be measured") }
                result = .success(try await body(ready))
            } catch {
                result = .failure(error)
            }
            group.cancelAll()
            while let next = await group.nextResult() { _ = next }
            try result.get()
        }
    }

    private enum Event: Sendable {
        case ready(PlaneFlag, String)
        case notReady(PlaneFlag, String)
        case ended(PlaneFlag, String)
    }

    /// Runs a launcher until it ends or the task is cancelled, which stops it in an orderly way; returns its error output.
    private func deployment(_ plane: PlaneFlag, name: String, port: Int) async throws -> String {
        var options = PlatformOptions()
        options.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(60))]
        var arguments = ["up", "--\(plane.rawValue)", "--set", "name=\(name)"]
        if let manifest { arguments.append(manifest) }
        let result = try await Subprocess.run(
            .path("/proc/self/exe"),
            arguments: Arguments(arguments),
            environment: .inherit.updating(["DYN_HTTP_PORT": String(port)]),
            platformOptions: options,
            output: .discarded,
            error: .string(limit: 1 << 20)
        )
        return result.standardError
    }

    private func waitUntilReady(_ plane: PlaneFlag, name: String) async -> Event {
        do {
            let deadline = ContinuousClock.now + Self.patience
            let root = DeploymentDirectories.runtimeRoot(environment: self.environment, userID: getuid())
            let client = ControlClient(socket: "\(root)/\(name)/control.sock")
            while ContinuousClock.now < deadline {
                do {
                    let status = try await client.status(waitingFor: .ready, timeout: Self.patience)
                    if status.state == .ready { return .ready(plane, name) }
                    return .notReady(plane, status.failure ?? "its deployment is \(status.state.rawValue)")
                } catch let failure as ControlClient.Failure where failure.isNotRunning {
                    try await Task.sleep(for: .milliseconds(50))
                }
            }
            return .notReady(plane, "it did not serve within \(Self.patience)")
        } catch {
            return .notReady(plane, "\(error)")
        }
    }

    private func ports(count: Int) throws -> [Int] {
        let leases = PortLeases(holder: "bench-\(getpid())")
        var ports: [Int] = []
        for number in 0..<count {
            ports.append(
                try leases.preview(PortLeases.Request(name: "bench-\(number)"), avoiding: Set(ports))
            )
        }
        return ports
    }
}
