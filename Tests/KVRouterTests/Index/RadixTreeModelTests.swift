import FuzzSupport
import Testing

@testable import KVRouter

/// The same as the tree, told in the plainest way: whole paths as keys.
private struct NaiveTree {
    private struct Cache {
        /// Where each hash stands.
        var paths: [BlockHash: [TokensHash]] = [:]
        var tiers: [[TokensHash]: Set<StorageTier>] = [:]
    }

    private var caches: [WorkerRank: Cache] = [:]

    mutating func apply(_ event: RouterEvent) {
        let name = WorkerRank(worker: event.worker, rank: event.event.rank)
        var cache = self.caches[name] ?? Cache()
        switch event.event.change {
        case .stored(let parent, let blocks):
            var path: [TokensHash] = []
            if let parent {
                guard let known = cache.paths[parent] else { return }
                path = known
            }
            for block in blocks {
                path.append(block.tokens)
                if let old = cache.paths.updateValue(path, forKey: block.block), old != path { cache.tiers[old] = nil }
                cache.tiers[path, default: []].insert(event.tier)
            }
        case .removed(let blocks):
            for block in blocks {
                guard let path = cache.paths[block] else { continue }
                let tiers = cache.tiers[path] ?? []
                guard tiers.isEmpty || tiers.contains(event.tier) else { continue }
                cache.tiers[path]?.remove(event.tier)
                if cache.tiers[path]?.isEmpty ?? true {
                    cache.tiers[path] = nil
                    cache.paths[block] = nil
                }
            }
        case .cleared:
            self.caches = self.caches.filter { $0.key.worker != event.worker }
            return
        }
        self.caches[name] = cache
    }

    func matches(_ tokens: [TokensHash]) -> [WorkerRank: Overlap] {
        self.caches.mapValues { cache in
            var overlap = Overlap()
            for length in tokens.indices {
                guard let tiers = cache.tiers[Array(tokens[...length])] else { break }
                if tiers.contains(.device) {
                    overlap.device += 1
                } else if tiers.contains(.hostPinned) {
                    overlap.hostPinned += 1
                } else if tiers.contains(.disk) {
                    overlap.disk += 1
                } else {
                    overlap.external += 1
                }
            }
            return overlap
        }.filter { $0.value.blocks > 0 }
    }
}

@Suite("Radix tree against a plain model")
struct RadixTreeModelTests {
    @Test("random events lead to the same answers, block by block", arguments: 1...20 as ClosedRange<UInt64>)
    func random(seed: UInt64) {
        var random = FuzzRandom(seed: seed)
        var tree = RadixTree()
        var model = NaiveTree()
        for step in 0..<2000 {
            let event = Self.event(&random)
            tree.apply(event)
            model.apply(event)
            let tokens = (0..<6).map { _ in TokensHash(rawValue: UInt64(random.below(3))) }
            #expect(tree.matches(tokens) == model.matches(tokens), "seed \(seed), step \(step)")
        }
        // What is dumped builds the same tree.
        var copy = RadixTree()
        for event in tree.dump() { #expect(copy.apply(event) == nil) }
        for number in 0..<729 {
            let tokens = (0..<6).map { TokensHash(rawValue: UInt64((number / [1, 3, 9, 27, 81, 243][$0]) % 3)) }
            #expect(tree.matches(tokens) == model.matches(tokens))
            #expect(copy.matches(tokens) == model.matches(tokens))
        }
        // Nothing is left over when all are gone.
        for worker in 0..<4 { tree.remove(worker: UInt64(worker)) }
        while tree.sweep(slots: 7) {}
        #expect(tree.nodeCount == 0)
        #expect(tree.blockCount == 0)
    }

    private static func event(_ random: inout FuzzRandom) -> RouterEvent {
        let change: KVEvent.Change
        switch random.below(30) {
        case 0: change = .cleared
        case 1..<12: change = .removed((0...random.below(3)).map { _ in Self.block(&random) })
        default:
            let parent = random.oneIn(3) ? nil : Self.block(&random)
            let blocks = (0...random.below(4)).map { _ in
                StoredBlock(block: Self.block(&random), tokens: TokensHash(rawValue: UInt64(random.below(3))))
            }
            change = .stored(parent: parent, blocks: blocks)
        }
        return RouterEvent(
            worker: UInt64(random.below(4)),
            tier: random.oneIn(3) ? StorageTier.allCases[random.below(4)] : .device,
            event: KVEvent(id: 0, rank: UInt32(random.below(2)), change: change)
        )
    }

    /// Few hashes, so that they meet again in other places.
    private static func block(_ random: inout FuzzRandom) -> BlockHash { BlockHash(rawValue: UInt64(random.below(40))) }
}
