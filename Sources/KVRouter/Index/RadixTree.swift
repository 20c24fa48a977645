/// Which worker holds which blocks: one prefix tree for all workers and data-parallel ranks.
///
/// A path from the root is a sequence of blocks by the hashes of their tokens. A worker's own block hashes lead to its nodes.
/// Costs about 50 bytes for a block of one worker, 20 to 25 for each further worker of the same block. Nothing here recurses, however
/// long a sequence is.
package struct RadixTree: Sendable {
    /// What an event named that is not there.
    package enum Unknown: Hashable, Sendable {
        /// The whole event was dropped: its blocks would hang in the air.
        case parent(BlockHash)
        /// These were not there to be removed; the event's others were.
        case blocks([BlockHash])
    }

    struct Rank: Sendable {
        var name: WorkerRank
        var table = BlockTable()
        /// False once cleared: not matched any more, its nodes are given back in slices.
        var isLive = true
        var swept = 0
    }

    private(set) var nodes = BlockNodes()
    private(set) var holders = HolderSets()
    private(set) var ranks: [Rank] = []
    private(set) var indices: [WorkerRank: Int] = [:]
    private var retired: [Int] = []
    private var free: [Int] = []

    package init() {}

    /// Distinct blocks in their prefixes, over all workers.
    package var nodeCount: Int { self.nodes.count }

    /// Bytes that the tree takes, about; what waits to be swept is still in it.
    package var memory: Int {
        self.nodes.memory + self.holders.memory + self.ranks.reduce(0) { $0 + $1.table.memory }
    }

    /// Blocks of all workers together.
    package var blockCount: Int { self.indices.values.reduce(0) { $0 + self.ranks[$1].table.count } }

    /// Blocks that each rank holds.
    package var blockCounts: [WorkerRank: Int] { self.indices.mapValues { self.ranks[$0].table.count } }

    // MARK: Changes

    /// Applies what an engine did; ids are not looked at.
    ///
    /// - Parameter event: what one worker did.
    /// - Returns: what the event named that is not there; nil when all of it was.
    @discardableResult
    package mutating func apply(_ event: RouterEvent) -> Unknown? {
        if !self.retired.isEmpty { self.sweep(slots: 64) }
        let name = WorkerRank(worker: event.worker, rank: event.event.rank)
        switch event.event.change {
        case .stored(let parent, let blocks): return self.store(name, event.tier, parent, blocks)
        case .removed(let blocks): return self.remove(name, event.tier, blocks)
        case .cleared:
            self.remove(worker: event.worker)
            return nil
        }
    }

    /// Forgets all blocks of all ranks of a worker, at once; their memory is given back by ``sweep(slots:)``.
    package mutating func remove(worker: UInt64) {
        for name in self.indices.keys.filter({ $0.worker == worker }) { self.remove(rank: name) }
    }

    /// Forgets all blocks of one rank.
    package mutating func remove(rank name: WorkerRank) {
        guard let index = self.indices.removeValue(forKey: name) else { return }
        self.ranks[index].isLive = false
        self.retired.append(index)
    }

    /// Gives back nodes of ranks that are gone.
    ///
    /// - Parameter slots: how much to look at in this call.
    /// - Returns: whether there is more to do.
    @discardableResult
    package mutating func sweep(slots: Int) -> Bool {
        var left = slots
        while let index = self.retired.last {
            let end = self.ranks[index].table.slots
            while self.ranks[index].swept < end {
                guard left > 0 else { return true }
                left -= 1
                let slot = self.ranks[index].swept
                self.ranks[index].swept += 1
                if let (_, node) = self.ranks[index].table[slot: slot] { self.leave(node, index) }
            }
            self.ranks[index].table = BlockTable()
            self.retired.removeLast()
            self.free.append(index)
        }
        return false
    }

    private mutating func store(
        _ name: WorkerRank,
        _ tier: StorageTier,
        _ parent: BlockHash?,
        _ blocks: [StoredBlock]
    ) -> Unknown? {
        var node = BlockNodes.root
        if let parent {
            node = self.indices[name].map { self.ranks[$0].table.node(of: parent) } ?? BlockNodes.root
            if node == BlockNodes.root { return .parent(parent) }
        }
        guard !blocks.isEmpty else { return nil }
        let rank = self.index(of: name)
        for block in blocks {
            var child = self.nodes.child(of: node, block.tokens)
            if child == BlockNodes.root { child = self.nodes.insert(under: node, block.tokens) }
            let previous = self.ranks[rank].table.set(block.block, to: child)
            if previous != child {
                self.nodes.retain(child)
                // The engine uses the hash for another block now: it is not where it was.
                if previous != BlockNodes.root { self.leave(previous, rank) }
            }
            self.holders.add(rank, tiers: tier.bit, to: &self.nodes[holders: child])
            node = child
        }
        return nil
    }

    private mutating func remove(_ name: WorkerRank, _ tier: StorageTier, _ blocks: [BlockHash]) -> Unknown? {
        guard let rank = self.indices[name] else { return blocks.isEmpty ? nil : .blocks(blocks) }
        var unknown: [BlockHash] = []
        for block in blocks {
            let node = self.ranks[rank].table.node(of: block)
            let tiers = node == BlockNodes.root ? 0 : self.holders.tiers(self.nodes[holders: node], of: rank)
            guard node != BlockNodes.root, tiers == 0 || tiers & tier.bit != 0 else {
                unknown.append(block)
                continue
            }
            guard self.holders.remove(rank, tiers: tier.bit, from: &self.nodes[holders: node]) == 0 else { continue }
            self.ranks[rank].table.remove(block)
            self.nodes.release(node)
        }
        return unknown.isEmpty ? nil : .blocks(unknown)
    }

    private mutating func leave(_ node: UInt32, _ rank: Int) {
        self.holders.remove(rank, tiers: .max, from: &self.nodes[holders: node])
        self.nodes.release(node)
    }

    private mutating func index(of name: WorkerRank) -> Int {
        if let index = self.indices[name] { return index }
        let index: Int
        if let free = self.free.popLast() {
            index = free
            self.ranks[index] = Rank(name: name)
        } else {
            index = self.ranks.count
            self.ranks.append(Rank(name: name))
        }
        self.indices[name] = index
        return index
    }

    // MARK: Lookup

    /// How much of a prompt each worker has.
    ///
    /// - Parameter tokens: the hashes of the prompt's full blocks.
    /// - Returns: every rank that has at least the first block.
    package func matches(_ tokens: [TokensHash]) -> [WorkerRank: Overlap] {
        // How far each rank has come, and its blocks by tier.
        var reached = [Int](repeating: 0, count: self.ranks.count)
        var overlaps = [Overlap](repeating: Overlap(), count: self.ranks.count)
        var found: [Int] = []
        var node = BlockNodes.root
        for (depth, hash) in tokens.enumerated() {
            node = self.nodes.child(of: node, hash)
            if node == BlockNodes.root { break }
            var goesOn = false
            self.holders.forEach(self.nodes[holders: node]) { holder in
                guard reached[holder.rank] == depth, self.ranks[holder.rank].isLive else { return }
                reached[holder.rank] = depth + 1
                if depth == 0 { found.append(holder.rank) }
                goesOn = true
                switch holder.tiers.trailingZeroBitCount {
                case 0: overlaps[holder.rank].device += 1
                case 1: overlaps[holder.rank].hostPinned += 1
                case 2: overlaps[holder.rank].disk += 1
                default: overlaps[holder.rank].external += 1
                }
            }
            if !goesOn { break }
        }
        return Dictionary(uniqueKeysWithValues: found.map { (self.ranks[$0].name, overlaps[$0]) })
    }
}
