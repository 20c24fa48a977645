/// A backend that can take a request.
struct Candidate: Sendable {
    /// Where it stands among the backends.
    var index: Int
    /// Requests that it has.
    var outstanding: Int
    /// Which request was its last one.
    var turn: UInt64

    /// Whether it is less busy; of equals the one that has waited longer, so that they take turns.
    @inline(__always)
    func isBetter(than other: Candidate?) -> Bool {
        guard let other else { return true }
        return self.outstanding == other.outstanding
            ? self.turn < other.turn : self.outstanding < other.outstanding
    }
}

/// The generations that backends belong to: which share of the requests each gets, and what was counted of it.
///
/// The choice is made anew for each request, exactly and evenly (smooth weighted round robin): each generation's credit grows by its
/// weight, the highest credit is chosen, and pays what all have got. With the weights 5 and 95 every 20th request is the first one's.
///
/// A generation that was there once stays, so that nothing that was counted is lost; there are few of them.
struct Generations: Sendable {
    private struct Entry: Sendable {
        let number: Int
        var weight = 0
        var credit = 0
        /// The least busy of its backends, while a choice is made.
        var candidate: Candidate?
        var figures = TrafficFigures()
    }

    /// Larger weights mean as much as this one, so that no sum overflows.
    private static let largestWeight = 1_000_000

    private var list: [Entry] = []
    /// Where those stand that get requests, by their numbers; nil: shares are not given, and all backends are equal.
    private var sharing: [Int]?

    /// Whether a generation is chosen before a backend is.
    var hasShares: Bool { self.sharing != nil }

    /// Where a generation stands; for good.
    mutating func index(of number: Int) -> Int {
        if let index = self.list.firstIndex(where: { $0.number == number }) { return index }
        self.list.append(Entry(number: number))
        return self.list.count - 1
    }

    /// Sets which share of the requests each generation gets from now on.
    ///
    /// - Parameter shares: weights by a generation's number; those without one, and with one below 1, get nothing. nil: all backends are
    ///   equal.
    mutating func set(_ shares: [Int: Int]?) {
        guard let shares else {
            self.sharing = nil
            return
        }
        var sharing: [Int] = []
        var hasChanged = self.sharing == nil
        for (number, weight) in shares.sorted(by: { $0.key < $1.key }) where weight > 0 {
            let index = self.index(of: number)
            let weight = min(weight, Self.largestWeight)
            hasChanged = hasChanged || self.list[index].weight != weight
            self.list[index].weight = weight
            sharing.append(index)
        }
        hasChanged = hasChanged || sharing != self.sharing
        self.sharing = sharing
        // A row goes on when only backends came or went, however often they do.
        guard hasChanged else { return }
        for index in self.list.indices {
            self.list[index].credit = 0
            if !sharing.contains(index) { self.list[index].weight = 0 }
        }
    }

    // MARK: A choice

    /// Begins a choice; ``offer(_:of:)`` follows for each backend that can take the request, then ``choose(preferring:)``.
    mutating func beginChoice() {
        guard let sharing = self.sharing else { return }
        for index in sharing { self.list[index].candidate = nil }
    }

    mutating func offer(_ candidate: Candidate, of index: Int) {
        guard self.list[index].weight > 0, candidate.isBetter(than: self.list[index].candidate) else { return }
        self.list[index].candidate = candidate
    }

    /// Chooses among the generations that can take the request.
    ///
    /// The others are as if they were not there: they neither save nor lose credit.
    ///
    /// - Parameter number: the generation that the request was given before, and keeps if possible, so that it counts once; nil: none.
    /// - Returns: the backend's place; nil when no generation that gets requests has one.
    mutating func choose(preferring number: Int?) -> Int? {
        guard let sharing = self.sharing else { return nil }
        if let number, let kept = sharing.first(where: { self.list[$0].number == number }),
            let candidate = self.list[kept].candidate
        {
            return candidate.index
        }
        var total = 0
        var chosen: Int?
        for index in sharing where self.list[index].candidate != nil {
            self.list[index].credit += self.list[index].weight
            total += self.list[index].weight
            if let best = chosen, self.list[index].credit <= self.list[best].credit { continue }
            chosen = index
        }
        guard let chosen else { return nil }
        self.list[chosen].credit -= total
        return self.list[chosen].candidate?.index
    }

    // MARK: Figures

    /// A request has its place at a backend of a generation.
    mutating func began(_ index: Int) { self.list[index].figures.inFlight += 1 }

    /// It has ended there.
    mutating func ended(_ index: Int, _ result: ExchangeResult) { self.list[index].figures.record(result) }

    /// What was counted of a generation; nothing of one that never was there.
    func figures(of number: Int) -> TrafficFigures {
        self.list.first { $0.number == number }?.figures ?? TrafficFigures()
    }

    /// What was counted of each generation that was there, by its number.
    var figures: [Int: TrafficFigures] {
        Dictionary(self.list.map { ($0.number, $0.figures) }, uniquingKeysWith: { $1 })
    }

    /// Requests that a generation has.
    func outstanding(_ number: Int) -> Int { self.list.first { $0.number == number }?.figures.inFlight ?? 0 }
}
