import LoadTest

/// The JSON of `bench --json`: for each target its figures and, from the second on, their ratios to the first one's.
struct BenchReport: Encodable {
    var concurrency: Int
    var tokens: Int
    var isStreamed: Bool
    var targets: [Target]

    struct Target: Encodable {
        var label: String
        var rounds: Int
        var seconds: Double
        var completed: Int
        var failures: [String: Int]
        /// By name and unit, for example `first token p99 (ms)`.
        var figures: [String: Double]
        var ratios: [String: Double]
        /// Processor milliseconds per complete request, by process.
        var processorMillisecondsPerRequest: [String: Double]
    }

    init(_ comparison: Comparison, shape: LoadShape) {
        self.concurrency = shape.concurrency
        self.tokens = shape.tokens
        self.isStreamed = shape.isStreamed
        self.targets = comparison.columns.enumerated().map { index, column in
            let total = column.total
            var target = Target(
                label: column.label,
                rounds: column.rounds.count,
                seconds: total.seconds,
                completed: total.completed,
                failures: total.failures,
                figures: [:],
                ratios: [:],
                processorMillisecondsPerRequest: [:]
            )
            for figure in ComparisonTable.figures {
                let name = "\(figure.name) (\(figure.unit))"
                target.figures[name] = figure.value(total)
                if index > 0 { target.ratios[name] = comparison.ratio(of: index, figure.value) }
            }
            for load in total.processorSeconds where total.completed > 0 {
                target.processorMillisecondsPerRequest[load.name] = load.seconds * 1000 / Double(total.completed)
            }
            return target
        }
    }
}
