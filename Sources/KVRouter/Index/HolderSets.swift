/// Who has a block: one holder in four bytes, which is the rule, and a small array only for more.
struct HolderSets {
    /// A rank of the tree with the tiers on which it has a block.
    struct Holder: Hashable {
        static let tierBits: UInt32 = 4
        var bits: UInt32

        init(rank: Int, tiers: UInt32) { self.bits = UInt32(rank) << Self.tierBits | tiers }

        var rank: Int { Int(self.bits >> Self.tierBits) }
        var tiers: UInt32 {
            get { self.bits & (1 << Self.tierBits - 1) }
            set { self.bits = self.bits & ~(1 << Self.tierBits - 1) | newValue }
        }
    }

    /// What a node keeps: nobody, one holder, or the number of a set.
    struct Reference: Hashable {
        static let none = Self(bits: 0)
        fileprivate static let set: UInt32 = 1 << 31
        fileprivate var bits: UInt32
    }

    private var sets: [[Holder]] = []
    private var free: [UInt32] = []

    /// Bytes that the sets take, about: each is counted as one of up to four holders.
    var memory: Int {
        // A reference, and an array's header with its elements.
        self.sets.capacity * MemoryLayout<[Holder]>.stride + self.sets.count * (32 + 4 * MemoryLayout<Holder>.stride)
    }

    /// Calls for each holder.
    func forEach(_ reference: Reference, _ body: (Holder) -> Void) {
        if reference.bits == 0 { return }
        guard reference.bits & Reference.set != 0 else { return body(Self.holder(reference)) }
        for holder in self.sets[Self.index(reference)] { body(holder) }
    }

    /// The tiers on which the rank has the block; 0 when it does not.
    func tiers(_ reference: Reference, of rank: Int) -> UInt32 {
        var tiers: UInt32 = 0
        self.forEach(reference) { if $0.rank == rank { tiers = $0.tiers } }
        return tiers
    }

    mutating func add(_ rank: Int, tiers: UInt32, to reference: inout Reference) {
        let added = Holder(rank: rank, tiers: tiers)
        if reference.bits == 0 {
            reference.bits = added.bits
        } else if reference.bits & Reference.set == 0 {
            var first = Self.holder(reference)
            if first.rank == rank {
                first.tiers |= tiers
                reference.bits = first.bits
            } else if let index = self.free.popLast() {
                self.sets[Int(index)] = [first, added]
                reference.bits = Reference.set | index
            } else {
                self.sets.append([first, added])
                reference.bits = Reference.set | UInt32(self.sets.count - 1)
            }
        } else {
            let index = Self.index(reference)
            if let place = self.sets[index].firstIndex(where: { $0.rank == rank }) {
                self.sets[index][place].tiers |= tiers
            } else {
                self.sets[index].append(added)
            }
        }
    }

    /// - Returns: the tiers that remain.
    @discardableResult
    mutating func remove(_ rank: Int, tiers: UInt32, from reference: inout Reference) -> UInt32 {
        if reference.bits == 0 { return 0 }
        guard reference.bits & Reference.set != 0 else {
            var holder = Self.holder(reference)
            guard holder.rank == rank else { return 0 }
            holder.tiers &= ~tiers
            reference.bits = holder.tiers == 0 ? 0 : holder.bits
            return holder.tiers
        }
        let index = Self.index(reference)
        guard let place = self.sets[index].firstIndex(where: { $0.rank == rank }) else { return 0 }
        self.sets[index][place].tiers &= ~tiers
        let left = self.sets[index][place].tiers
        if left == 0 { self.sets[index].remove(at: place) }
        if self.sets[index].count == 1 {
            reference.bits = self.sets[index][0].bits
            self.sets[index] = []
            self.free.append(UInt32(index))
        }
        return left
    }

    private static func holder(_ reference: Reference) -> Holder {
        var holder = Holder(rank: 0, tiers: 0)
        holder.bits = reference.bits
        return holder
    }

    private static func index(_ reference: Reference) -> Int { Int(reference.bits & ~Reference.set) }
}
