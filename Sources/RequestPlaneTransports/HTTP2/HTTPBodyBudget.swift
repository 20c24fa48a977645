import Synchronization

/// The bytes of request bodies that have not arrived whole, over all connections of a server, and how many there may be.
///
/// Each body has its own limit; without this one as many peers as connect could each leave half a body behind.
final class HTTPBodyBudget: Sendable {
    let limit: Int
    private let held = Atomic(0)

    /// Creates a budget of which nothing is taken.
    ///
    /// - Parameter configuration: the limits of all bodies and of one, which always fits when nothing else is held.
    init(_ configuration: HTTPConfiguration) {
        self.limit = max(configuration.maximumReceivingSize, configuration.maximumBodySize)
    }

    var heldBytes: Int { self.held.load(ordering: .relaxed) }

    /// Takes so many bytes.
    ///
    /// - Returns: whether there was room; without it nothing is taken.
    func take(_ count: Int) -> Bool {
        if self.held.add(count, ordering: .relaxed).newValue <= self.limit { return true }
        self.giveBack(count)
        return false
    }

    func giveBack(_ count: Int) { self.held.subtract(count, ordering: .relaxed) }
}
