internal import Gateway

/// Notices a generation that takes requests and answers none of them.
///
/// Errors and times are counted when a request ends; of those that never end nobody would hear.
struct StallJudge: Sendable {
    enum Verdict: Sendable, Hashable {
        case fine
        /// Several requests are there, and none has ended for longer than is usual; soon it is known whether that is too long.
        case waiting(String)
        case broken(String)
    }

    /// With fewer requests that wait, nothing is said.
    static let fewest = 5
    /// Seconds that are never too long.
    static let shortest = 2.0
    /// So many times what nearly all requests to the old generation take is too long.
    static let factor = 3.0

    private let name: String
    /// Since when requests have been there of which none has ended.
    private var since: (seconds: Double, ended: Int)?

    /// - Parameter generation: the new one's number, for messages.
    init(_ generation: Int) { self.name = "generation \(generation)" }

    /// Judges; to be called again and again.
    ///
    /// - Parameters:
    ///   - new: the new generation's figures; of requests that have ended only the number counts.
    ///   - usual: what nearly all requests to the old generation take, in seconds; nil: not known, and then nothing is judged.
    ///   - seconds: how long it is watched already.
    /// - Returns: what is to be thought of it.
    mutating func verdict(_ new: TrafficFigures, usual: Double?, after seconds: Double) -> Verdict {
        guard let usual, new.inFlight >= Self.fewest else {
            self.since = nil
            return .fine
        }
        guard let since = self.since, since.ended == new.requests else {
            self.since = (seconds, new.requests)
            return .fine
        }
        // Those that were there then are all still there.
        let waited = seconds - since.seconds
        let limit = max(Self.shortest, usual * Self.factor)
        let words = "none of the \(new.inFlight) requests that \(self.name) has was answered for"
        guard waited > usual, waited >= Self.shortest / 2 else { return .fine }
        guard waited >= limit else { return .waiting("\(words) \((waited * 10).rounded() / 10) s") }
        return .broken(
            "\(words) \((limit * 10).rounded() / 10) s; nearly all requests to the old one took at most \((usual * 1000).rounded()) ms"
        )
    }
}
