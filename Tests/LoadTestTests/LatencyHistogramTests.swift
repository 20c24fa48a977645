import LoadTest
import Testing

@Suite("A histogram of durations") struct LatencyHistogramTests {
    @Test("small values are exact") func small() {
        var histogram = LatencyHistogram()
        for value in 1...100 { histogram.record(UInt64(value)) }
        #expect(histogram.count == 100)
        #expect(histogram.percentile(0.5) == 50)
        #expect(histogram.percentile(0.99) == 99)
        #expect(histogram.percentile(1) == 100)
        #expect(histogram.percentile(0) == 1)
        #expect(histogram.mean == 50.5)
        #expect(histogram.maximum == 100)
    }

    @Test(
        "large values are within one in a hundred",
        arguments: [255, 256, 257, 1000, 65_535, 65_536, 1_234_567, 999_999_999, 3_600_000_000_000] as [UInt64]
    )
    func precision(_ value: UInt64) {
        var histogram = LatencyHistogram()
        histogram.record(value)
        histogram.record(value * 4)
        let found = histogram.percentile(0.5)
        #expect(found >= value)
        #expect(Double(found) <= Double(value) * 1.01)
    }

    @Test("histograms add up") func addition() {
        var (low, high) = (LatencyHistogram(), LatencyHistogram())
        for _ in 0..<90 { low.record(10) }
        for _ in 0..<10 { high.record(1_000_000) }
        low.add(high)
        #expect(low.count == 100)
        #expect(low.percentile(0.9) == 10)
        #expect(low.percentile(0.91) >= 1_000_000)
        #expect(low.maximum == 1_000_000)
    }

    @Test("nothing recorded is 0, and the longest durations share a bucket") func edges() {
        var histogram = LatencyHistogram()
        #expect(histogram.percentile(0.5) == 0)
        #expect(histogram.mean == 0)
        histogram.record(.max)
        #expect(histogram.count == 1)
        #expect(histogram.percentile(0.5) > 0)
    }
}
