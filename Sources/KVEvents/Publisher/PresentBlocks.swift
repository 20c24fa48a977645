package import KVRouter

/// What is in a cache now, each block with the one before it: the local index of a publisher.
///
/// About 50 bytes a block.
package struct PresentBlocks: Sendable, Equatable {
    private struct Entry: Sendable, Equatable {
        var parent: BlockHash
        var tokens: TokensHash
        var hasParent: Bool
    }

    /// Where each block's entry is.
    private var places = BlockTable()
    /// The first is nobody's: the table has no place 0.
    private var entries = [Self.nobody]
    private var free: [UInt32] = []

    private static let nobody = Entry(
        parent: BlockHash(rawValue: 0),
        tokens: TokensHash(rawValue: 0),
        hasParent: false
    )

    package init() {}

    package var count: Int { self.places.count }
    package var isEmpty: Bool { self.count == 0 }

    /// The blocks, in no order.
    package var blocks: [BlockHash] {
        (0..<self.places.slots).compactMap { slot in self.places[slot: slot]?.block }
    }

    package func contains(_ block: BlockHash) -> Bool { self.places.node(of: block) != 0 }

    private func entry(_ block: BlockHash) -> Entry? {
        let place = self.places.node(of: block)
        return place == 0 ? nil : self.entries[Int(place)]
    }

    /// Applies what an engine has done.
    package mutating func apply(_ change: KVEvent.Change) {
        switch change {
        case .stored(let parent, let blocks):
            var last = parent
            for block in blocks {
                self.set(
                    block.block,
                    Entry(parent: last ?? Self.nobody.parent, tokens: block.tokens, hasParent: last != nil)
                )
                last = block.block
            }
        case .removed(let blocks): for block in blocks { self.remove(block) }
        case .cleared: self = Self()
        }
    }

    private mutating func set(_ block: BlockHash, _ entry: Entry) {
        let known = self.places.node(of: block)
        guard known == 0 else { return self.entries[Int(known)] = entry }
        let place: UInt32
        if let free = self.free.popLast() {
            place = free
            self.entries[Int(place)] = entry
        } else {
            place = UInt32(self.entries.count)
            self.entries.append(entry)
        }
        _ = self.places.set(block, to: place)
    }

    private mutating func remove(_ block: BlockHash) {
        let place = self.places.node(of: block)
        guard place != 0 else { return }
        self.places.remove(block)
        self.free.append(place)
    }

    /// Blocks that begin a sequence, and what follows each block.
    private var successors: (roots: [BlockHash], children: [BlockHash: [BlockHash]]) {
        var roots: [BlockHash] = []
        var children: [BlockHash: [BlockHash]] = [:]
        for slot in 0..<self.places.slots {
            guard let (block, place) = self.places[slot: slot] else { continue }
            let entry = self.entries[Int(place)]
            if entry.hasParent { children[entry.parent, default: []].append(block) } else { roots.append(block) }
        }
        return (roots, children)
    }

    /// The changes that make an empty index equal to this one: parents before their children.
    ///
    /// A block whose predecessor is gone cannot be reached by any prompt, and routers would refuse it: it is left out.
    ///
    /// - Parameter limit: blocks in one change.
    /// - Returns: changes of kind `stored`, as long chains as there are.
    package func stores(upTo limit: Int) -> [KVEvent.Change] {
        let (roots, children) = self.successors
        var changes: [KVEvent.Change] = []
        var starts: [(parent: BlockHash?, block: BlockHash)] = roots.sorted { $0.rawValue < $1.rawValue }
            .map { (nil, $0) }
        // A branch is taken up only after the chain that it leaves has been written to its end, so parents come first.
        while let start = starts.popLast() {
            var chain: [StoredBlock] = []
            var parent = start.parent
            var next: BlockHash? = start.block
            while let block = next, let entry = self.entry(block) {
                chain.append(StoredBlock(block: block, tokens: entry.tokens))
                let branches = (children[block] ?? []).sorted { $0.rawValue < $1.rawValue }
                next = branches.first
                for branch in branches.dropFirst() { starts.append((block, branch)) }
                if chain.count == limit {
                    changes.append(.stored(parent: parent, blocks: chain))
                    parent = block
                    chain = []
                }
            }
            if !chain.isEmpty { changes.append(.stored(parent: parent, blocks: chain)) }
        }
        return changes
    }

    /// Whether the same blocks are there, wherever they stand.
    package static func == (left: Self, right: Self) -> Bool {
        left.count == right.count
            && (0..<left.places.slots).allSatisfy { slot in
                guard let (block, place) = left.places[slot: slot] else { return true }
                return left.entries[Int(place)] == right.entry(block)
            }
    }
}
