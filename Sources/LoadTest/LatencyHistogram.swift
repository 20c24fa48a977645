/// Counts durations in buckets whose width grows with the value, so that every percentile is exact to about one part in a hundred.
///
/// The layout is the one known as HdrHistogram: 128 linear steps for each power of two. Memory is fixed, recording is one
/// addition, and two histograms add up.
package struct LatencyHistogram: Sendable, Hashable {
    private var counts: [UInt64] = Array(repeating: 0, count: Self.bucketCount)

    /// How many values were recorded.
    package private(set) var count: UInt64 = 0
    /// The largest value, in nanoseconds.
    package private(set) var maximum: UInt64 = 0
    private var sum: Double = 0

    private static let stepBits = 7
    /// Values from about 19 hours on share the last bucket.
    private static let longest: UInt64 = 1 << 46
    private static let bucketCount = Self.index(of: Self.longest) + 1

    package init() {}

    /// The mean, in nanoseconds; 0 when nothing was recorded.
    package var mean: Double { self.count == 0 ? 0 : self.sum / Double(self.count) }

    /// Records a duration in nanoseconds.
    package mutating func record(_ nanoseconds: UInt64) {
        self.counts[Self.index(of: min(nanoseconds, Self.longest))] += 1
        self.count += 1
        self.sum += Double(nanoseconds)
        self.maximum = max(self.maximum, nanoseconds)
    }

    /// Adds what another histogram has recorded.
    package mutating func add(_ other: LatencyHistogram) {
        for index in self.counts.indices { self.counts[index] += other.counts[index] }
        self.count += other.count
        self.sum += other.sum
        self.maximum = max(self.maximum, other.maximum)
    }

    /// The value below or at which a share of all values lies.
    ///
    /// - Parameter share: from 0 to 1, for example 0.99.
    /// - Returns: nanoseconds; 0 when nothing was recorded.
    package func percentile(_ share: Double) -> UInt64 {
        guard self.count > 0 else { return 0 }
        let rank = max(1, UInt64((share * Double(self.count)).rounded(.up)))
        var seen: UInt64 = 0
        for (index, count) in self.counts.enumerated() {
            seen += count
            if seen >= rank { return min(Self.highestValue(at: index), self.maximum) }
        }
        return self.maximum
    }

    private static func index(of value: UInt64) -> Int {
        let width = UInt64.bitWidth - value.leadingZeroBitCount
        guard width > self.stepBits + 1 else { return Int(value) }
        let shift = width - self.stepBits - 1
        return (shift << self.stepBits) + Int(value >> UInt64(shift))
    }

    private static func highestValue(at index: Int) -> UInt64 {
        let steps = 1 << self.stepBits
        guard index >= 2 * steps else { return UInt64(index) }
        let shift = index / steps - 1
        let step = UInt64(index - shift * steps)
        return ((step + 1) << UInt64(shift)) - 1
    }
}
