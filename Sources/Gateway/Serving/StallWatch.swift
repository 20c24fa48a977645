package import NIOCore

/// Notices that a client takes nothing any more of what is written to it.
///
/// No I/O and no clock: the caller brings the time, and what has become of the bytes.
package struct StallWatch: Sendable {
    private var progress: UInt64 = 0
    /// When something was taken last; nil: nobody looks.
    private var since: NIODeadline?

    package init() {}

    package var isWatching: Bool { self.since != nil }

    /// Begins to watch; goes on with what was seen when it watches already.
    ///
    /// - Parameters:
    ///   - progress: a number that changes whenever the client takes something.
    ///   - now: the time.
    package mutating func begin(_ progress: UInt64, now: NIODeadline) {
        guard self.since == nil else { return }
        self.progress = progress
        self.since = now
    }

    /// Everything was taken.
    package mutating func end() { self.since = nil }

    /// How long nothing has been taken.
    ///
    /// - Parameters:
    ///   - progress: the number at the moment.
    ///   - now: the time.
    /// - Returns: the time; zero when something was taken since the last look, or when nobody watches.
    package mutating func stalled(_ progress: UInt64, now: NIODeadline) -> TimeAmount {
        guard let since = self.since else { return .zero }
        guard progress == self.progress else {
            self.progress = progress
            self.since = now
            return .zero
        }
        return now - since
    }
}
