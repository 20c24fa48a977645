import KVRouter

/// The blocks that no sequence uses, in the order in which they became so.
///
/// A block that is used again keeps its old place, which is void by its number: the cache knows the number that counts.
struct UnusedBlocks: Sendable {
    struct Place: Sendable {
        var block: BlockHash
        var turn: UInt64
    }

    private var places: [Place] = []
    private var first = 0
    private var turns: UInt64 = 0
    /// Blocks that are unused now.
    private(set) var count = 0

    /// Puts a block at the end.
    ///
    /// - Parameter block: a block that is in use no longer.
    /// - Returns: the number of its place.
    mutating func enter(_ block: BlockHash) -> UInt64 {
        self.turns += 1
        self.count += 1
        self.places.append(Place(block: block, turn: self.turns))
        return self.turns
    }

    /// Counts a block out: it is used again, or evicted.
    mutating func leave() { self.count -= 1 }

    /// Takes the place that has waited for longest, which may be void.
    mutating func next() -> Place? {
        guard self.first < self.places.count else { return nil }
        defer { self.first += 1 }
        return self.places[self.first]
    }

    /// Drops void places once they are more than the others.
    ///
    /// - Parameter isValid: whether a place is still its block's.
    mutating func compact(_ isValid: (BlockHash, UInt64) -> Bool) {
        guard self.places.count > 2 * self.count + 64 else { return }
        self.places = self.places[self.first...].filter { isValid($0.block, $0.turn) }
        self.first = 0
    }
}
