/// How long to wait before an attempt to reconnect.
struct ReconnectBackoff: Sendable, Hashable {
    var first: Duration
    var maximum: Duration

    /// The delay, which doubles with each attempt up to the maximum, less a random part of up to a half, so that the clients of
    /// a restarted server do not all come at once.
    ///
    /// - Parameters:
    ///   - attempt: from 1; the first attempt comes almost at once.
    ///   - random: from 0 to 1.
    /// - Returns: the delay.
    func delay(attempt: Int, random: Double) -> Duration {
        guard attempt > 1 else { return .milliseconds(1) + self.first / 4 * random }
        let doublings = min(attempt - 2, 20)
        let full = min(self.first * (1 << doublings), self.maximum)
        return full - full / 2 * random
    }
}
