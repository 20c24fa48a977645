import NIOCore
import RequestPlane

/// How long a host is left alone after a failed attempt to connect: a short while that doubles with each further failure.
struct ConnectBackoff: Sendable, Hashable {
    private static let first = TimeAmount.milliseconds(50)
    private static let longest = TimeAmount.seconds(1)

    private var penalty: Penalty?

    /// What holds until when.
    struct Penalty: Sendable, Hashable {
        /// Why the latest attempt failed.
        fileprivate(set) var failure: PlaneFailure
        fileprivate(set) var until: NIODeadline
        fileprivate var length: TimeAmount
    }

    /// The penalty, while it lasts.
    func penalty(at now: NIODeadline) -> Penalty? {
        guard let penalty = self.penalty, penalty.until > now else { return nil }
        return penalty
    }

    /// The host can be reached: its next failure counts as the first.
    mutating func succeeded() { self.penalty = nil }

    /// An attempt has failed; those that were under way together count as one.
    mutating func failed(_ failure: PlaneFailure, now: NIODeadline) {
        guard self.penalty(at: now) == nil else {
            self.penalty?.failure = failure
            return
        }
        let length = self.penalty.map { min($0.length * 2, Self.longest) } ?? Self.first
        self.penalty = Penalty(failure: failure, until: now + length, length: length)
    }
}
