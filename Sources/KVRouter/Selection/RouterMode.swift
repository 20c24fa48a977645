/// How the worker for a request is chosen, by Dynamo's names.
package enum RouterMode: String, Hashable, Sendable, CaseIterable {
    case roundRobin = "round-robin"
    case random
    /// Of two random workers the one with fewer requests.
    case powerOfTwo = "power-of-two"
    /// The worker with the fewest requests.
    case leastLoaded = "least-loaded"
    /// The worker that the request names.
    case direct
    /// The worker with the lowest cost, see `CostFunction`.
    case kv

    /// Whether the choice depends on which requests run where.
    package var countsRequests: Bool {
        switch self {
        case .powerOfTwo, .leastLoaded, .kv: true
        case .roundRobin, .random, .direct: false
        }
    }
}

/// In which order requests leave the router's queue.
package enum QueuePolicy: String, Hashable, Sendable, CaseIterable {
    /// First come, first served.
    case fcfs
    /// The shortest prompt first.
    case wspt
}

/// A line of Dynamo's releases, as far as routers differ.
package enum RouterRelease: String, Hashable, Sendable, CaseIterable {
    case v1_0 = "1.0"
    case v1_2 = "1.2"
    case v1_6 = "1.6"
}
