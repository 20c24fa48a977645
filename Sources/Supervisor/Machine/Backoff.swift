internal import Deployment

/// How long to wait before a restart, and when to give up.
///
/// Counts restarts in a row.
struct Backoff: Sendable, Hashable {
    enum Decision: Hashable {
        /// Restart number `attempt` in a row, after the delay.
        case restart(after: Duration, attempt: Int)
        case giveUp(afterRestarts: Int)
    }

    var policy: RestartPolicy
    private var restartsInARow = 0
    private var generator: SplitMix64

    init(policy: RestartPolicy, seed: UInt64) {
        self.policy = policy
        self.generator = SplitMix64(state: seed)
    }

    /// Forgets what failed before.
    mutating func reset() { self.restartsInARow = 0 }

    /// What to do after a run that lasted so long.
    mutating func runEnded(after lifetime: Duration) -> Decision {
        if lifetime >= .seconds(self.policy.stableAfter) { self.restartsInARow = 0 }
        if let maximum = self.policy.maximumRestarts, self.restartsInARow >= maximum {
            return .giveUp(afterRestarts: self.restartsInARow)
        }
        var delay = self.policy.initialDelay
        for _ in 0..<self.restartsInARow where delay < self.policy.maximumDelay { delay *= 2 }
        delay = min(delay, self.policy.maximumDelay)
        let random = Double(self.generator.next() >> 11) * 0x1p-53
        delay -= delay * self.policy.jitter * random
        self.restartsInARow += 1
        return .restart(after: .seconds(delay), attempt: self.restartsInARow)
    }
}

/// A small random generator that is a value, so that the machines stay reproducible.
struct SplitMix64: Sendable, Hashable, RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var value = self.state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}
