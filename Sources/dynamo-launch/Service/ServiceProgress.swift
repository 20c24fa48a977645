import Deployment
import Supervisor
import Synchronization
import Systemd

/// Tells the service manager what becomes of the deployment; does nothing when none started the launcher.
final class ServiceProgress: Sendable {
    private struct State: Sendable {
        var status: ServiceStatus
        /// Said once.
        var hasComplained = false
    }

    private let notifier: ServiceNotifier
    private let watchdog: Watchdog?
    private let state: Mutex<State>
    /// Something that the service manager could not be told.
    private let complain: @Sendable (String) -> Void

    /// How often a status with a running time is renewed.
    private static let longestPeriod = Duration.seconds(5)

    /// Creates the progress of a deployment that was not started yet.
    ///
    /// - Parameters:
    ///   - plan: what is to run.
    ///   - options: how it is supervised.
    ///   - watchdog: the service manager's wish for signs of life.
    ///   - complain: gets what could not be told, once.
    init(plan: Plan, options: SupervisorOptions, watchdog: Watchdog?, complain: @escaping @Sendable (String) -> Void) {
        self.notifier = ServiceNotifier()
        self.watchdog = watchdog
        self.complain = complain
        let status = ServiceStatus(
            plan: plan,
            verificationTimeout: .seconds(options.verificationTimeout),
            hasWatchdog: watchdog != nil
        )
        self.state = Mutex(State(status: status))
    }

    /// Whether a service manager started the launcher.
    var isManaged: Bool { self.notifier.isManaged }

    /// What the supervisor's loop has to do again and again; nil when nobody wants to know.
    var heartbeat: Heartbeat? {
        guard self.notifier.isManaged else { return nil }
        let period = min(self.watchdog?.period ?? Self.longestPeriod, Self.longestPeriod)
        return Heartbeat(period: period) { self.tell { $0.beat(at: .now) } }
    }

    /// Something happened.
    func observe(_ notice: SupervisorNotice) { self.tell { $0.happened(notice, at: .now) } }

    /// Another generation, all of which is ready, has taken the place of the one before.
    func replaced(by plan: Plan) { self.tell { $0.replaced(by: plan, at: .now) } }

    /// The launcher is about to stop the deployment by itself.
    func stops(because reason: String) { self.state.withLock { $0.status.stopReason = reason } }

    /// The deployment has ended.
    func ended(_ outcome: SupervisorOutcome) { self.tell { $0.ended(outcome) } }

    /// Sent under the lock, so that messages go out in the order of what they are about.
    private func tell(_ decide: (inout ServiceStatus) -> [ServiceNotifier.State]) {
        guard self.notifier.isManaged else { return }
        let complaint = self.state.withLock { state -> String? in
            let states = decide(&state.status)
            guard !states.isEmpty, case .failed(let reason) = self.notifier.send(states), !state.hasComplained else {
                return nil
            }
            state.hasComplained = true
            return reason
        }
        if let complaint { self.complain("warning: \(complaint)") }
    }
}
