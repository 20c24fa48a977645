import RequestPlane

/// Chooses the instance for a request; a value without clock or randomness of its own.
struct InstanceSelector: Sendable {
    enum Mode: String, Sendable, Hashable, CaseIterable {
        case roundRobin = "round-robin"
        case random
    }

    /// How long an instance that could not be reached is left out.
    static let absence: Duration = .seconds(5)

    private let mode: Mode
    private var turns: [EndpointID: Int] = [:]
    private var absent: [InstanceID: ContinuousClock.Instant] = [:]

    init(mode: Mode) { self.mode = mode }

    /// Chooses among instances.
    ///
    /// - Parameters:
    ///   - instances: who could serve the request.
    ///   - excluded: who has refused it already.
    ///   - now: the time.
    ///   - random: a number for the random mode.
    /// - Returns: nil when nobody is left. Instances that are left out are taken when there is nobody else.
    mutating func choose(
        from instances: [Instance],
        excluding excluded: Set<InstanceID>,
        now: ContinuousClock.Instant,
        random: Int
    ) -> Instance? {
        self.absent = self.absent.filter { $0.value > now }
        let candidates = instances.filter { !excluded.contains($0.id) }
        let present = candidates.filter { self.absent[$0.id] == nil }
        let pool = present.isEmpty ? candidates : present
        guard let first = pool.first else { return nil }
        switch self.mode {
        case .random: return pool[abs(random % pool.count)]
        case .roundRobin:
            let turn = self.turns[first.endpoint, default: 0]
            self.turns[first.endpoint] = (turn + 1) % Int.max
            return pool[turn % pool.count]
        }
    }

    /// An instance could not be reached.
    mutating func failed(_ id: InstanceID, now: ContinuousClock.Instant) { self.absent[id] = now + Self.absence }
}
