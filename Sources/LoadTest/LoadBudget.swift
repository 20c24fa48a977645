import Synchronization

/// Says for each request of a run whether it is still sent: shared by all connections.
final class LoadBudget: Sendable {
    private let remaining: Atomic<Int>
    private let end: ContinuousClock.Instant?

    init(_ extent: LoadShape.Extent) {
        switch extent {
        case .requests(let count):
            self.remaining = Atomic(count)
            self.end = nil
        case .duration(let duration):
            self.remaining = Atomic(.max)
            self.end = .now + duration
        }
    }

    /// Takes one request from the budget, if there is one.
    func take() -> Bool {
        if let end, ContinuousClock.now >= end { return false }
        return self.remaining.subtract(1, ordering: .relaxed).newValue >= 0
    }
}
