import Testing

@testable import LoadTest

@Suite("Comparing targets") struct ComparisonTests {
    /// Answers a fixed number of requests, and notes when it was asked.
    private struct FakeTarget: LoadTarget {
        let label: String
        let completed: Int
        let log: Log

        func run(_ shape: LoadShape) async -> LoadResult {
            await self.log.add(self.label)
            var result = LoadResult()
            result.completed = self.completed
            result.tokens = self.completed * shape.tokens
            return result
        }
    }

    private actor Log {
        var entries: [String] = []
        func add(_ entry: String) { self.entries.append(entry) }
    }

    private static let shape = LoadShape(
        concurrency: 1,
        extent: .requests(1),
        tokens: 8,
        promptWords: 2,
        isStreamed: true
    )

    @Test("rounds alternate, and the warm-up does not count") func order() async {
        let log = Log()
        let targets = ["a", "b"].map {
            MeasuredTarget(label: $0, target: FakeTarget(label: $0, completed: 5, log: log), processes: [])
        }
        let comparison = await Comparison(measuring: targets, with: Self.shape, warmUp: Self.shape, rounds: 3) { _ in }
        #expect(await log.entries == ["a", "b", "a", "b", "b", "a", "a", "b"])
        #expect(comparison.columns.map(\.rounds.count) == [3, 3])
        #expect(comparison.columns[0].total.completed == 15)
        #expect(comparison.columns[1].total.tokens == 120)
    }

    private func column(_ label: String, _ rates: [Int]) -> Comparison.Column {
        Comparison.Column(
            label: label,
            rounds: rates.map { rate in
                var result = LoadResult()
                result.completed = rate
                result.tokens = rate * 8
                result.seconds = 1
                for _ in 0..<rate { result.duration.record(2_000_000) }
                result.processorSeconds = [ProcessLoad(name: "worker-0", seconds: 0.5)]
                return result
            }
        )
    }

    @Test("a ratio is the median over rounds, so one bad round does not count") func ratio() {
        let comparison = Comparison(columns: [self.column("a", [100, 100, 100]), self.column("b", [200, 10, 210])])
        #expect(comparison.ratio(of: 1) { $0.requestsPerSecond } == 2)
        #expect(comparison.ratio(of: 2) { $0.requestsPerSecond } == nil)
        #expect(comparison.ratio(of: 1) { _ in 0 } == nil)
    }

    @Test("the table names figures, units, ratios and failures") func table() {
        var slow = self.column("slow & <old>", [50])
        slow.rounds[0].fail("status 503: busy")
        let comparison = Comparison(columns: [self.column("fast", [100]), slow])
        let lines = ComparisonTable(comparison).lines
        #expect(lines[0].contains("fast") && lines[0].hasSuffix("ratio"))
        #expect(lines.contains { $0.hasPrefix("requests ") && $0.contains("100") && $0.hasSuffix("0.50") })
        #expect(
            lines.contains { $0.hasPrefix("CPU per request, worker-0") && $0.contains("5.00") && $0.contains("10.00") }
        )
        #expect(lines.contains { $0.hasPrefix("failed") })
        #expect(lines.last == "slow & <old>: 1 failed: status 503: busy")
    }

    @Test("the chart is escaped SVG with a bar for each target") func chart() {
        let comparison = Comparison(columns: [self.column("a", [100]), self.column("b & <c>", [50])])
        let svg = ComparisonChart(comparison, title: "A & B").svg
        #expect(svg.hasPrefix("<svg ") && svg.hasSuffix("</svg>\n"))
        #expect(svg.contains("A &amp; B") && svg.contains("b &amp; &lt;c&gt;"))
        #expect(!svg.contains("<c>"))
        #expect(svg.contains(#"width="460""#) && svg.contains(#"width="230""#))
    }

    @Test(arguments: [(0.0, 2, "0.00"), (1.005, 1, "1.0"), (12.345, 2, "12.35"), (-0.5, 1, "-0.5"), (99.9, 0, "100")])
    func decimals(_ value: Double, _ digits: Int, _ expected: String) {
        #expect(ComparisonTable.decimals(value, digits) == expected)
    }
}
