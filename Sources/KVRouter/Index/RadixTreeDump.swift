extension RadixTree {
    /// The blocks of a rank as events that build them up again, parents first.
    ///
    /// Blocks whose parent the rank does not hold are left out: nothing can match them.
    ///
    /// - Parameters:
    ///   - name: the rank.
    ///   - limit: the most blocks in one event.
    /// - Returns: stored events with ids from 0.
    package func dump(_ name: WorkerRank, limit: Int = 256) -> [RouterEvent] {
        guard let rank = self.indices[name] else { return [] }
        let table = self.ranks[rank].table
        var open: [UInt32: BlockHash] = [:]
        open.reserveCapacity(table.count)
        for slot in 0..<table.slots {
            guard let (block, node) = table[slot: slot] else { continue }
            if self.holders.tiers(self.nodes[holders: node], of: rank) != 0 { open[node] = block }
        }
        var done: [UInt32: BlockHash] = [:]
        done.reserveCapacity(open.count)
        var events: [RouterEvent] = []
        for start in Array(open.keys) {
            var chain: [(node: UInt32, block: BlockHash)] = []
            var node = start
            while let block = open.removeValue(forKey: node) {
                chain.append((node, block))
                node = self.nodes.parent(of: node)
            }
            guard !chain.isEmpty, node == BlockNodes.root || done[node] != nil else { continue }
            self.append(chain.reversed(), after: done[node], of: name, rank, limit, to: &events)
            for (node, block) in chain { done[node] = block }
        }
        return events
    }

    /// All blocks of all ranks as events, in the order of the ranks.
    package func dump() -> [RouterEvent] {
        var events = self.indices.keys.sorted().flatMap { self.dump($0) }
        for index in events.indices { events[index].event.id = UInt64(index) }
        return events
    }

    /// Appends consecutive blocks: an event for each run on the same tiers, and for each of these.
    private func append(
        _ chain: [(node: UInt32, block: BlockHash)],
        after parent: BlockHash?,
        of name: WorkerRank,
        _ rank: Int,
        _ limit: Int,
        to events: inout [RouterEvent]
    ) {
        var parent = parent
        var rest = chain[...]
        while let first = rest.first {
            let tiers = self.holders.tiers(self.nodes[holders: first.node], of: rank)
            let run = rest.prefix(limit).prefix { self.holders.tiers(self.nodes[holders: $0.node], of: rank) == tiers }
            let blocks = run.map { StoredBlock(block: $0.block, tokens: self.nodes.tokens(of: $0.node)) }
            for tier in StorageTier.allCases where tiers & tier.bit != 0 {
                let event = KVEvent(
                    id: UInt64(events.count),
                    rank: name.rank,
                    change: .stored(parent: parent, blocks: blocks)
                )
                events.append(RouterEvent(worker: name.worker, tier: tier, event: event))
            }
            parent = run.last?.block
            rest = rest.dropFirst(run.count)
        }
    }
}
