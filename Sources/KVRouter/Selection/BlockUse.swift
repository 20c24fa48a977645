/// The blocks that are in use on one rank of a worker.
struct BlockUse: Sendable {
    private var holders: [BlockHash: Int] = [:]
    /// Blocks that count less than one, since the request that holds them is near its end.
    private var weights: [BlockHash: Double] = [:]
    private var missing = 0.0

    /// Distinct blocks, those near their end counted in part.
    var total: Double { Double(self.holders.count) - self.missing }

    var isEmpty: Bool { self.holders.isEmpty }

    /// How many blocks of a sequence are in use.
    ///
    /// A chained hash in use means that all before it are, since requests hold whole sequences: so the border is searched by halves.
    func shared(with blocks: [BlockHash]) -> Int {
        var (low, high) = (0, blocks.count)
        while low < high {
            let middle = (low + high + 1) / 2
            if self.holders[blocks[middle - 1]] == nil { high = middle - 1 } else { low = middle }
        }
        return low
    }

    mutating func hold(_ block: BlockHash) {
        self.holders[block, default: 0] += 1
        // Somebody starts with it: it will stay.
        self.forgetWeight(of: block)
    }

    mutating func release(_ block: BlockHash) {
        guard let count = self.holders[block] else { return }
        if count > 1 {
            self.holders[block] = count - 1
        } else {
            self.holders[block] = nil
            self.forgetWeight(of: block)
        }
    }

    /// Lets a block count less, unless others hold it too.
    mutating func weigh(_ block: BlockHash, as weight: Double) {
        guard self.holders[block] == 1 else { return }
        self.missing += (self.weights[block] ?? 1) - weight
        self.weights[block] = weight
    }

    private mutating func forgetWeight(of block: BlockHash) {
        guard let weight = self.weights.removeValue(forKey: block) else { return }
        // Without weights nothing is missing: rounding errors end here.
        self.missing = self.weights.isEmpty ? 0 : self.missing - (1 - weight)
    }
}
