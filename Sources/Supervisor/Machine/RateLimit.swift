/// So many things in a second, after a first burst; a value that is told the time.
struct RateLimit: Sendable, Hashable {
    let perSecond: Double
    let burst: Double
    private var tokens: Double
    private var filledAt: ContinuousClock.Instant?

    init(perSecond: Double, burst: Double) {
        self.perSecond = perSecond
        self.burst = burst
        self.tokens = burst
    }

    /// Takes one; returns nil, or when to ask again if there is none now.
    mutating func take(at now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        let elapsed = self.filledAt.map { (now - $0).inSeconds } ?? 0
        self.tokens = min(self.burst, self.tokens + elapsed * self.perSecond)
        self.filledAt = now
        guard self.tokens < 1 else {
            self.tokens -= 1
            return nil
        }
        return now + .seconds((1 - self.tokens) / self.perSecond)
    }
}
