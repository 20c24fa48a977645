package import NIOCore

/// What was counted of all backends of one generation, for whoever compares two generations.
///
/// Every number but ``inFlight`` only grows, so that ``subtracting(_:)`` shows what happened between two moments.
package struct TrafficFigures: Sendable, Hashable, Codable {
    /// Requests that have ended there, in whatever way; not those that were sent elsewhere, see ``retries``.
    package var requests = 0
    /// Those that the generation failed: no whole answer, a status from 500 on, or an event stream that told an error.
    package var errors = 0
    /// Those whose client left, or stopped reading and was cut off.
    package var cancelled = 0
    /// Requests that could not be sent on a connection, refused or stale, and that went to another one: no client saw it.
    package var retries = 0
    /// Requests that are there now.
    package var inFlight = 0
    /// Of event streams (`text/event-stream`): until the first byte of content.
    ///
    /// Times begin with the arrival of a request's head, or with its place at this backend when it had to wait for one: what it waited
    /// for is not this generation's doing.
    package var firstToken = LatencyDigest()
    /// Of event streams of at least ``ExchangeResult/fewestReads`` reads: the mean time from one read with content to the next, one for
    /// each stream.
    package var betweenTokens = LatencyDigest()
    /// Until the end, of answers that came whole, whatever their type and status.
    package var duration = LatencyDigest()

    package init() {}

    /// What was counted since an earlier moment; ``inFlight`` stays.
    package func subtracting(_ earlier: TrafficFigures) -> TrafficFigures {
        var result = self
        result.requests = max(0, self.requests - earlier.requests)
        result.errors = max(0, self.errors - earlier.errors)
        result.cancelled = max(0, self.cancelled - earlier.cancelled)
        result.retries = max(0, self.retries - earlier.retries)
        result.firstToken = self.firstToken.subtracting(earlier.firstToken)
        result.betweenTokens = self.betweenTokens.subtracting(earlier.betweenTokens)
        result.duration = self.duration.subtracting(earlier.duration)
        return result
    }

    /// A request has ended there, or could not begin.
    mutating func record(_ result: ExchangeResult) {
        self.inFlight -= 1
        switch result.end {
        case .stale, .failed(.connect):
            self.retries += 1
            return
        case .answered(let status):
            if status >= 500 || result.hasToldError { self.errors += 1 }
            self.duration.record(result.duration - result.waited)
        case .failed: self.errors += 1
        case .clientLeft, .clientStalled:
            // A client that is told an error has no reason to wait for the end of the stream.
            if result.hasToldError { self.errors += 1 } else { self.cancelled += 1 }
        }
        self.requests += 1
        if let firstToken = result.firstToken { self.firstToken.record(firstToken - result.waited) }
        if let betweenTokens = result.betweenTokens { self.betweenTokens.record(betweenTokens) }
    }
}

/// How often times fell into each of many narrow spans, from which quantiles can be told within a tenth.
///
/// Each power of two of nanoseconds has eight spans, so that finding one costs nothing: they are 7 to 13 % wide.
package struct LatencyDigest: Sendable, Hashable, Codable {
    /// Exponents of the first and the last power that has spans: from 66 microseconds to 1100 seconds.
    private static let (first, last) = (16, 39)

    /// First what is below all spans, then each span, then what is above them.
    private var counts = [Int](repeating: 0, count: (Self.last - Self.first + 1) * 8 + 2)
    /// How many there are.
    package private(set) var count = 0

    package init() {}

    /// Adds one.
    package mutating func record(_ time: TimeAmount) {
        self.counts[Self.index(time.nanoseconds)] += 1
        self.count += 1
    }

    private static func index(_ nanoseconds: Int64) -> Int {
        guard nanoseconds >= 1 << Int64(Self.first) else { return 0 }
        let exponent = 63 - nanoseconds.leadingZeroBitCount
        guard exponent <= Self.last else { return (Self.last - Self.first + 1) * 8 + 1 }
        return (exponent - Self.first) * 8 + Int(nanoseconds >> Int64(exponent - 3) & 7) + 1
    }

    /// Where the span of an index begins, in nanoseconds; the one before ends there.
    private static func start(_ index: Int) -> Double {
        let (power, eighth) = (index - 1).quotientAndRemainder(dividingBy: 8)
        return Double((8 + eighth) << (power + Self.first - 3))
    }

    /// The time that a part of all does not exceed.
    ///
    /// - Parameter part: from 0 to 1: 0.5 is the median, 0.99 the 99th percentile.
    /// - Returns: seconds, at most a tenth off between 100 microseconds and 1000 seconds; what is beyond is told as the end of the spans
    ///   on that side. nil when there are no times.
    package func quantile(_ part: Double) -> Double? {
        guard self.count > 0, !part.isNaN else { return nil }
        let rank = max(1, Int((min(max(part, 0), 1) * Double(self.count)).rounded(.up)))
        var below = 0
        for (index, count) in self.counts.enumerated() where count > 0 {
            guard below + count < rank else {
                guard index > 0 else { return Self.start(1) / 1e9 }
                let start = Self.start(index)
                guard index < self.counts.count - 1 else { return start / 1e9 }
                // As if those of a span lay evenly in it.
                let place = (Double(rank - below) - 0.5) / Double(count)
                return (start + (Self.start(index + 1) - start) * place) / 1e9
            }
            below += count
        }
        return nil
    }

    /// What was added since an earlier moment.
    ///
    /// - Parameter earlier: the same digest at that moment.
    /// - Returns: the times since then; where there were more before, as there may be in another digest, none.
    package func subtracting(_ earlier: LatencyDigest) -> LatencyDigest {
        var result = LatencyDigest()
        for index in self.counts.indices {
            result.counts[index] = max(0, self.counts[index] - earlier.counts[index])
            result.count += result.counts[index]
        }
        return result
    }
}
