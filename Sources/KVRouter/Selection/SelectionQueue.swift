import HeapModule

/// Requests that wait for a worker, in the order of a policy.
package struct SelectionQueue: Sendable {
    private struct Entry: Sendable, Comparable {
        var rank: Int
        var arrival: UInt64
        var id: String

        static func < (left: Entry, right: Entry) -> Bool { (left.rank, left.arrival) < (right.rank, right.arrival) }
    }

    private let policy: QueuePolicy
    private var entries = Heap<Entry>()
    private var gone: Set<String> = []
    private var waiting: Set<String> = []
    private var arrivals: UInt64 = 0

    package init(policy: QueuePolicy) { self.policy = policy }

    /// Lets a request wait; one that waits already keeps its place.
    ///
    /// - Parameters:
    ///   - id: the request's.
    ///   - prefillTokens: tokens of its prompt that must be processed.
    package mutating func append(_ id: String, prefillTokens: Int) {
        guard self.waiting.insert(id).inserted else { return }
        // One that comes back while its old place is still there takes that.
        guard self.gone.remove(id) == nil else { return }
        self.arrivals += 1
        let rank = self.policy == .wspt ? prefillTokens : 0
        self.entries.insert(Entry(rank: rank, arrival: self.arrivals, id: id))
    }

    /// The next request leaves.
    package mutating func popFirst() -> String? {
        while let entry = self.entries.popMin() {
            if self.gone.remove(entry.id) != nil { continue }
            self.waiting.remove(entry.id)
            return entry.id
        }
        return nil
    }

    /// The next request, which goes on waiting.
    package mutating func peek() -> String? {
        while let entry = self.entries.min {
            guard self.gone.remove(entry.id) != nil else { return entry.id }
            self.entries.removeMin()
        }
        return nil
    }

    /// A request does not wait any more.
    package mutating func remove(_ id: String) {
        guard self.waiting.remove(id) != nil else { return }
        self.gone.insert(id)
    }

    package var count: Int { self.waiting.count }
}
