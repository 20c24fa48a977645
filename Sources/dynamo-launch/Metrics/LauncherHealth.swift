import Deployment
import FoundationEssentials
import Gateway
import Supervisor

/// What the launcher answers to those who decide whether it lives, and whether it gets requests.
enum LauncherHealth {
    /// The body of both answers.
    struct Report: Encodable, Hashable {
        var deployment: String?
        /// Of the deployment, as in `status`.
        var state: String
        /// Why it does not serve; nil when it does.
        var reason: String?
        /// What a deployment lacks that serves nevertheless.
        var missing: [String]?
    }

    /// Whether the launcher itself works: it does if it can answer.
    static func live(_ status: DeploymentStatus?) -> WatchAnswer {
        .json(true, self.text(Report(deployment: status?.deployment, state: status?.state.rawValue ?? "starting")))
    }

    /// Whether the deployment serves.
    ///
    /// - Parameters:
    ///   - status: nil when nothing was begun yet, or everything has ended.
    ///   - isStopping: whether everything is about to be stopped, which a status may not say yet.
    /// - Returns: 200, or 503 with the reason.
    static func ready(_ status: DeploymentStatus?, isStopping: Bool) -> WatchAnswer {
        guard let status else {
            let reason = isStopping ? "the deployment is stopped" : "the deployment is about to be started"
            return .json(false, self.text(Report(state: isStopping ? "stopped" : "starting", reason: reason)))
        }
        let reason = isStopping ? status.failure ?? "the deployment is being stopped" : self.trouble(of: status)
        var report = Report(deployment: status.deployment, state: status.state.rawValue, reason: reason)
        if reason == nil, status.state == .degraded {
            report.missing =
                status.silentServices.map(\.words) + status.replicas.filter { $0.state != .ready }.map(Self.words)
        }
        return .json(reason == nil, self.text(report))
    }

    /// Why a deployment does not serve; nil when it does.
    ///
    /// One that has lost a replica serves as long as each of its processes has another one.
    static func trouble(of status: DeploymentStatus) -> String? {
        switch status.state {
        case .ready: return nil
        case .degraded:
            // On this plane no request reaches a worker without it.
            if status.planes.request == .nats, let lost = status.silentServices.first(where: { $0.name == "nats" }) {
                return lost.words
            }
            let serving = Set(status.replicas.filter { $0.state == .ready }.map(\.process))
            return status.replicas.first { !serving.contains($0.process) }.map(Self.words)
        case .starting:
            let waiting = status.replicas.first { $0.state != .ready && $0.state != .waiting }
            return (waiting ?? status.replicas.first { $0.state != .ready }).map(Self.words)
                ?? status.silentServices.first?.words
                ?? "every process is ready, and the readiness request is under way"
        case .stopping, .stopped, .failed:
            return status.failure ?? "the deployment is being stopped"
        }
    }

    private static func words(_ replica: ReplicaStatus) -> String {
        let waiting = replica.waitingFor.map { ", waits for \($0)" } ?? ""
        let exit = replica.lastExit.map { ", ended last with \($0)" } ?? ""
        return "\(replica.name) is \(replica.state.rawValue)\(waiting)\(exit)"
    }

    private static func text(_ report: Report) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let data = (try? encoder.encode(report)) ?? Data()
        return String(decoding: data, as: UTF8.self) + "\n"
    }
}
