/// What one run of a load has measured.
package struct LoadResult: Sendable, Hashable {
    /// Answers that were complete and not errors.
    package var completed = 0
    /// Requests that failed, by what went wrong.
    package var failures: [String: Int] = [:]
    /// Tokens of complete answers, as the server counted them; where it did not, streamed events.
    package var tokens = 0
    /// How long the run took, in seconds.
    package var seconds = 0.0
    /// From sending a request to the first token, or to the whole answer where it is not streamed.
    package var firstToken = LatencyHistogram()
    /// Between one streamed event and the next.
    package var betweenTokens = LatencyHistogram()
    /// From sending a request to the end of its answer.
    package var duration = LatencyHistogram()
    /// Processor time that each process of the deployment used during the run, in seconds.
    package var processorSeconds: [ProcessLoad] = []

    package init() {}

    /// How many requests failed.
    package var failed: Int { self.failures.values.reduce(0, +) }

    /// Complete answers a second.
    package var requestsPerSecond: Double { self.seconds > 0 ? Double(self.completed) / self.seconds : 0 }

    /// Tokens a second.
    package var tokensPerSecond: Double { self.seconds > 0 ? Double(self.tokens) / self.seconds : 0 }

    /// Adds another run: a further round, or what another connection has measured at the same time.
    ///
    /// Times of runs one after the other are added by the caller.
    package mutating func add(_ other: LoadResult) {
        self.completed += other.completed
        self.tokens += other.tokens
        self.failures.merge(other.failures, uniquingKeysWith: +)
        self.firstToken.add(other.firstToken)
        self.betweenTokens.add(other.betweenTokens)
        self.duration.add(other.duration)
        for load in other.processorSeconds {
            if let index = self.processorSeconds.firstIndex(where: { $0.name == load.name }) {
                self.processorSeconds[index].seconds += load.seconds
            } else {
                self.processorSeconds.append(load)
            }
        }
    }

    mutating func fail(_ reason: String) { self.failures[reason, default: 0] += 1 }
}

/// What a process has used.
package struct ProcessLoad: Sendable, Hashable {
    /// The replica.
    package var name: String
    /// Processor time, in seconds.
    package var seconds: Double

    package init(name: String, seconds: Double) {
        self.name = name
        self.seconds = seconds
    }
}
