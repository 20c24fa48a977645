internal import Deployment
internal import Synchronization

/// The plan as it is now, for those who only look.
final class SharedPlan: Sendable {
    private struct State: Sendable {
        var slots: Plan
        var active: Plan
        var isChanging = false
        var isRetiring = false
    }

    private let state: Mutex<State>

    init(_ plan: Plan) { self.state = Mutex(State(slots: plan, active: plan)) }

    /// With what was removed, so that indexes stay what they are.
    var slots: Plan { self.state.withLock { $0.slots } }
    /// What runs.
    var active: Plan { self.state.withLock { $0.active } }

    /// Whether a restart or a change is under way.
    var isChanging: Bool { self.state.withLock { $0.isChanging } }

    func set(slots: Plan, active: Plan) { self.state.withLock { ($0.slots, $0.active) = (slots, active) } }

    /// Whether another generation takes its place.
    var isRetiring: Bool { self.state.withLock { $0.isRetiring } }

    func retire() { self.state.withLock { $0.isRetiring = true } }

    func set(isChanging: Bool) { self.state.withLock { $0.isChanging = isChanging } }
}

/// The manifest as it is now cannot be run.
package struct ReplanFailure: Error, Sendable, CustomStringConvertible {
    /// Each error on a line of its own, with its place.
    package var description: String

    package init(description: String) { self.description = description }
}
