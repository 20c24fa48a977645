package import KVRouter

/// What is in a cache now, each block with the one before it: the local index of a publisher.
///
/// About 100 bytes a block.
package struct PresentBlocks: Sendable, Equatable {
    private struct Entry: Sendable, Equatable {
        var parent: BlockHash?
        var tokens: TokensHash
    }

    private var entries: [BlockHash: Entry] = [:]

    package init() {}

    package var count: Int { self.entries.count }
    package var isEmpty: Bool { self.entries.isEmpty }

    /// The blocks, in no order.
    package var blocks: [BlockHash] { Array(self.entries.keys) }

    package func contains(_ block: BlockHash) -> Bool { self.entries[block] != nil }

    /// Applies what an engine has done.
    package mutating func apply(_ change: KVEvent.Change) {
        switch change {
        case .stored(let parent, let blocks):
            var last = parent
            for block in blocks {
                self.entries[block.block] = Entry(parent: last, tokens: block.tokens)
                last = block.block
            }
        case .removed(let blocks): for block in blocks { self.entries[block] = nil }
        case .cleared: self.entries.removeAll()
        }
    }

    /// The changes that make an empty index equal to this one: parents before their children.
    ///
    /// A block whose predecessor is gone cannot be reached by any prompt, and routers would refuse it: it is left out.
    ///
    /// - Parameter limit: blocks in one change.
    /// - Returns: changes of kind `stored`, as long chains as there are.
    package func stores(upTo limit: Int) -> [KVEvent.Change] {
        var children: [BlockHash: [BlockHash]] = [:]
        var roots: [BlockHash] = []
        for (block, entry) in self.entries {
            if let parent = entry.parent {
                children[parent, default: []].append(block)
            } else {
                roots.append(block)
            }
        }
        var changes: [KVEvent.Change] = []
        var starts: [(parent: BlockHash?, block: BlockHash)] = roots.sorted { $0.rawValue < $1.rawValue }
            .map { (nil, $0) }
        // A branch is taken up only after the chain that it leaves has been written to its end, so parents come first.
        while let start = starts.popLast() {
            var chain: [StoredBlock] = []
            var parent = start.parent
            var next: BlockHash? = start.block
            while let block = next, let entry = self.entries[block] {
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
}
