/// Several targets, measured in alternating rounds, so that what disturbs the machine disturbs all of them.
package struct Comparison: Sendable {
    /// One target's rounds.
    package struct Column: Sendable {
        package var label: String
        package var rounds: [LoadResult]

        /// All rounds together.
        package var total: LoadResult {
            var total = LoadResult()
            for round in self.rounds {
                total.add(round)
                total.seconds += round.seconds
            }
            return total
        }
    }

    package private(set) var columns: [Column]

    /// Measures targets.
    ///
    /// - Parameters:
    ///   - targets: at least one; the first is what the others are compared with.
    ///   - shape: the load of each round.
    ///   - warmUp: a smaller load before the first round, not counted.
    ///   - rounds: how many rounds each target gets.
    ///   - progress: told what is being measured.
    package init(
        measuring targets: [MeasuredTarget],
        with shape: LoadShape,
        warmUp: LoadShape?,
        rounds: Int,
        progress: (String) -> Void
    ) async {
        self.columns = targets.map { Column(label: $0.label, rounds: []) }
        if let warmUp {
            for target in targets {
                progress("warming up \(target.label)")
                _ = await target.target.run(warmUp)
            }
        }
        for round in 0..<rounds {
            // Every other round goes backwards: nobody is always first.
            let order = round.isMultiple(of: 2) ? Array(targets.indices) : targets.indices.reversed()
            for index in order where !Task.isCancelled {
                progress("round \(round + 1) of \(rounds): \(targets[index].label)")
                self.columns[index].rounds.append(await targets[index].measure(shape))
            }
        }
    }

    init(columns: [Column]) { self.columns = columns }

    /// How a target compares with the first one: the median of the ratios of rounds that belong together.
    ///
    /// - Parameters:
    ///   - index: which target.
    ///   - value: the figure to compare.
    /// - Returns: the ratio; nil where a figure is missing.
    package func ratio(of index: Int, _ value: (LoadResult) -> Double) -> Double? {
        guard let base = self.columns.first, index < self.columns.count else { return nil }
        let ratios = zip(self.columns[index].rounds, base.rounds)
            .compactMap { own, base in value(base) > 0 && value(own) > 0 ? value(own) / value(base) : nil }.sorted()
        guard !ratios.isEmpty else { return nil }
        let middle = ratios.count / 2
        return ratios.count.isMultiple(of: 2) ? (ratios[middle - 1] + ratios[middle]) / 2 : ratios[middle]
    }
}
