/// A comparison as a table for people: figures down, targets across.
package struct ComparisonTable {
    private let comparison: Comparison

    package init(_ comparison: Comparison) { self.comparison = comparison }

    /// One figure of a run.
    package struct Figure: Sendable {
        package var name: String
        package var unit: String
        package var value: @Sendable (LoadResult) -> Double
    }

    /// The figures of every table, chart and JSON text.
    package static let figures: [Figure] = [
        Figure(name: "requests", unit: "1/s") { $0.requestsPerSecond },
        Figure(name: "tokens", unit: "1/s") { $0.tokensPerSecond },
        Figure(name: "first token p50", unit: "ms") { Self.milliseconds($0.firstToken, 0.5) },
        Figure(name: "first token p90", unit: "ms") { Self.milliseconds($0.firstToken, 0.9) },
        Figure(name: "first token p99", unit: "ms") { Self.milliseconds($0.firstToken, 0.99) },
        Figure(name: "between tokens p50", unit: "ms") { Self.milliseconds($0.betweenTokens, 0.5) },
        Figure(name: "between tokens p99", unit: "ms") { Self.milliseconds($0.betweenTokens, 0.99) },
        Figure(name: "request p50", unit: "ms") { Self.milliseconds($0.duration, 0.5) },
        Figure(name: "request p99", unit: "ms") { Self.milliseconds($0.duration, 0.99) },
        Figure(name: "request p99.9", unit: "ms") { Self.milliseconds($0.duration, 0.999) },
    ]

    private static func milliseconds(_ histogram: LatencyHistogram, _ share: Double) -> Double {
        Double(histogram.percentile(share)) / 1_000_000
    }

    /// The lines of the table.
    package var lines: [String] {
        let columns = self.comparison.columns
        let totals = columns.map(\.total)
        var rows: [[String]] = [["", "unit"]]
        for (index, column) in columns.enumerated() {
            rows[0].append(column.label)
            if index > 0 { rows[0].append("ratio") }
        }
        for figure in Self.figures {
            rows.append(self.row("\(figure.name)", figure.unit, totals, ratio: figure.value, figure.value))
        }
        for name in self.processNames {
            let value: (LoadResult) -> Double = { result in
                let seconds = result.processorSeconds.first { $0.name == name }?.seconds ?? 0
                return result.completed > 0 ? seconds * 1000 / Double(result.completed) : 0
            }
            rows.append(self.row("CPU per request, \(name)", "ms", totals, ratio: value, value))
        }
        rows.append(self.row("complete", "", totals, ratio: nil) { Double($0.completed) })
        rows.append(self.row("failed", "", totals, ratio: nil) { Double($0.failed) })
        var lines = Self.align(rows)
        for (column, total) in zip(columns, totals) {
            for (reason, count) in total.failures.sorted(by: { $0.value > $1.value }).prefix(3) {
                lines.append("\(column.label): \(count) failed: \(reason)")
            }
        }
        return lines
    }

    private var processNames: [String] {
        var names: [String] = []
        for column in self.comparison.columns {
            for round in column.rounds {
                for load in round.processorSeconds where !names.contains(load.name) { names.append(load.name) }
            }
        }
        return names
    }

    private func row(
        _ name: String,
        _ unit: String,
        _ totals: [LoadResult],
        ratio: ((LoadResult) -> Double)?,
        _ value: (LoadResult) -> Double
    ) -> [String] {
        var cells = [name, unit]
        for (index, total) in totals.enumerated() {
            cells.append(Self.number(value(total), isCount: ratio == nil))
            guard index > 0 else { continue }
            cells.append(ratio.flatMap { self.comparison.ratio(of: index, $0) }.map { Self.decimals($0, 2) } ?? "")
        }
        return cells
    }

    private static func number(_ value: Double, isCount: Bool) -> String {
        if isCount { return String(Int(value)) }
        if value == 0 { return "-" }
        return value >= 100 ? Self.decimals(value, 0) : value >= 1 ? Self.decimals(value, 2) : Self.decimals(value, 3)
    }

    /// A number with so many digits after the point.
    package static func decimals(_ value: Double, _ digits: Int) -> String {
        guard value.isFinite else { return "-" }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int((value * scale).rounded())
        guard digits > 0 else { return String(scaled) }
        let fraction = String(abs(scaled) % Int(scale))
        let sign = scaled < 0 ? "-" : ""
        return sign + "\(abs(scaled) / Int(scale))." + String(repeating: "0", count: digits - fraction.count) + fraction
    }

    private static func align(_ rows: [[String]]) -> [String] {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                line += column < 2 ? cell + padding : padding + cell
                if column < row.count - 1 { line += "  " }
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}
