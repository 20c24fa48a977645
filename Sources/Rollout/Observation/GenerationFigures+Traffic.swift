internal import Gateway

extension GenerationFigures {
    /// What of a gateway's figures is judged.
    init(_ figures: TrafficFigures) {
        self.init(
            requests: figures.requests,
            errors: figures.errors,
            firstToken: Times(figures.firstToken),
            betweenTokens: Times(figures.betweenTokens)
        )
    }
}

extension GenerationFigures.Times {
    fileprivate init?(_ digest: LatencyDigest) {
        guard let median = digest.quantile(0.5) else { return nil }
        self.init(count: digest.count, median: median)
    }
}
