import Synchronization

/// What is done to a deployment in a soak, and when; what became of each request, and whether it may have.
final class SoakLedger: Sendable {
    /// Something that is done to the deployment.
    enum Disturbance: String, Sendable, CaseIterable {
        case killedWorker, killedMocker, killedFrontend
        /// The NATS server, while requests travel over it.
        case killedRequestServer
        /// The NATS server, while only events do.
        case killedEventServer
        /// SIGSTOP for a second.
        case paused
        case restarted, scaled, applied
    }

    /// What a client got.
    enum Answer: Sendable, Hashable {
        case good
        /// A whole answer that is an error.
        case error(Int)
        /// A stream whose last event is an error.
        case errorEvent
        /// A connection that ended in the middle of an answer.
        case cut
        /// A connection that was refused or ended without any answer.
        case nothing
        /// Nothing for so long that it counts as hung.
        case late
        /// Another answer than the question's.
        case wrong
    }

    /// A request that has ended.
    struct Request: Sendable {
        var model: SoakClients.Model
        var streams: Bool
        var answer: Answer
        /// The answer's, or what was wrong.
        var text: String
        var began: ContinuousClock.Instant
        var ended: ContinuousClock.Instant
    }

    /// Something that was done, from its beginning until it cannot have an effect any more.
    struct Window: Sendable {
        var disturbance: Disturbance
        var name: String
        var began: ContinuousClock.Instant
        var ended: ContinuousClock.Instant?
    }

    private struct State: Sendable {
        var windows: [Window] = []
        var answers: [Answer: Int] = [:]
        var failures: [String] = []
        var offences: [String] = []
        var longest = 0.0
    }

    private let state = Mutex(State())
    let start = ContinuousClock.now

    /// So many are kept in words; all are counted.
    private static let limit = 100

    /// Something begins; returns what ends it.
    func begin(_ disturbance: Disturbance, _ name: String) -> Int {
        self.state.withLock { state in
            state.windows.append(Window(disturbance: disturbance, name: name, began: .now))
            return state.windows.count - 1
        }
    }

    /// What was done has no effect any more.
    func end(_ index: Int) { self.state.withLock { $0.windows[index].ended = .now } }

    /// A request has ended.
    func take(_ request: Request) {
        self.state.withLock { state in
            state.answers[request.answer, default: 0] += 1
            state.longest = max(state.longest, (request.ended - request.began) / .seconds(1))
            guard request.answer != .good else { return }
            let isPermitted = state.windows.contains { SoakRule.explains(request, $0) }
            let words = self.words(request)
            if isPermitted, state.failures.count < Self.limit { state.failures.append(words) }
            if !isPermitted, state.offences.count < Self.limit { state.offences.append(words) }
        }
    }

    private func words(_ request: Request) -> String {
        "\(self.seconds(request.began))...\(self.seconds(request.ended)) s: \(request.answer) of a "
            + "\(request.streams ? "stream" : "request") to \(request.model.name.suffix(20)): \(request.text.suffix(300))"
    }

    /// Since the soak began.
    private func seconds(_ instant: ContinuousClock.Instant) -> String {
        let hundredths = Int(((instant - self.start) / .milliseconds(10)).rounded())
        return "\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10)"
    }

    /// The requests that ended as they must not.
    var offences: [String] { self.state.withLock { $0.offences } }
    /// Those that failed as they may.
    var failures: [String] { self.state.withLock { $0.failures } }
    var answers: [Answer: Int] { self.state.withLock { $0.answers } }
    /// Everything that was done, with its times.
    var events: [String] {
        self.state.withLock { state in
            state.windows.map { "\(self.seconds($0.began))...\($0.ended.map(self.seconds) ?? "") s: \($0.name)" }
        }
    }
    /// How often each thing was done.
    var disturbances: [Disturbance: Int] {
        self.state.withLock { state in
            state.windows.reduce(into: [:]) { $0[$1.disturbance, default: 0] += 1 }
        }
    }
    /// The longest that a request took, in seconds.
    var longest: Double { self.state.withLock { $0.longest } }
}
