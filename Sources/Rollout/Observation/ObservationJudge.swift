package import Deployment

/// What the gateway counted of one generation in some span of time.
package struct GenerationFigures: Sendable, Hashable {
    /// Times of one kind.
    package struct Times: Sendable, Hashable {
        /// How many were measured.
        package var count: Int
        /// In seconds.
        package var median: Double

        package init(count: Int, median: Double) {
            self.count = count
            self.median = median
        }
    }

    /// Requests that have ended, the failed ones among them.
    package var requests: Int
    package var errors: Int
    /// Of streams, from the request to the first piece of text; nil: none was measured.
    package var firstToken: Times?
    /// Of streams, from one piece of text to the next; nil: none was measured.
    package var betweenTokens: Times?

    package init(requests: Int, errors: Int, firstToken: Times? = nil, betweenTokens: Times? = nil) {
        self.requests = requests
        self.errors = errors
        self.firstToken = firstToken
        self.betweenTokens = betweenTokens
    }
}

/// Compares what a new generation does with what the old one did.
///
/// Holds no state: it may be asked again and again while a step is watched, so that a migration is taken back as soon as there is a
/// reason, and once more at the end.
package struct ObservationJudge: Sendable {
    package enum Verdict: Sendable, Hashable {
        case fine
        /// Nothing is wrong as far as was seen, which is not all; a note for people.
        case tooFew(String)
        /// A sentence with what was measured, what it is compared with, and the limit.
        case broken(String)
    }

    /// Differences below these are the machine's, not the generation's; in seconds.
    private static let firstTokenNoise = 0.020
    private static let betweenTokensNoise = 0.002

    private let thresholds: MigrationSettings.Thresholds
    private let newName: String
    private let oldName: String

    /// - Parameters:
    ///   - thresholds: the limits.
    ///   - new: the number of the new generation, for messages.
    ///   - old: that of the old one.
    package init(thresholds: MigrationSettings.Thresholds, new: Int, old: Int) {
        self.thresholds = thresholds
        self.newName = "generation \(new)"
        self.oldName = "generation \(old)"
    }

    /// What the old generation's times are taken from: what was measured since the migration began, where that is enough.
    ///
    /// Each kind of time is chosen by itself. What the old generation does at the same time counts where it is slower: what slows both
    /// down is the machine, not the new generation.
    ///
    /// - Parameters:
    ///   - recent: since the migration began.
    ///   - lifetime: since the generation was started.
    ///   - meanwhile: while this step is watched.
    /// - Returns: the figures to compare with.
    package func baseline(
        recent: GenerationFigures,
        lifetime: GenerationFigures,
        meanwhile: GenerationFigures
    ) -> GenerationFigures {
        var baseline = recent
        for time in [\GenerationFigures.firstToken, \.betweenTokens] {
            if !self.isEnough(recent[keyPath: time]) { baseline[keyPath: time] = lifetime[keyPath: time] }
            guard let now = meanwhile[keyPath: time], self.isEnough(now) else { continue }
            guard let usual = baseline[keyPath: time], self.isEnough(usual), usual.median >= now.median else {
                baseline[keyPath: time] = now
                continue
            }
        }
        return baseline
    }

    /// Judges.
    ///
    /// - Parameters:
    ///   - new: what the new generation did since this step began.
    ///   - old: what it is compared with (``baseline(recent:lifetime:meanwhile:)``).
    ///   - seconds: how long the step is watched already.
    /// - Returns: whether the migration may go on.
    package func verdict(new: GenerationFigures, old: GenerationFigures, after seconds: Double) -> Verdict {
        if let reason = self.errors(of: new) { return .broken(reason) }
        let span = "\(Self.rounded(seconds)) s"
        guard new.requests >= self.thresholds.minimumRequests else {
            return .tooFew(
                "only \(Self.count(new.requests, "request")) in \(span) (\(self.thresholds.minimumRequests) are needed): nothing but errors was judged"
            )
        }
        let kinds = [
            ("time to first token", new.firstToken, old.firstToken, self.thresholds.firstToken, Self.firstTokenNoise),
            (
                "time between tokens", new.betweenTokens, old.betweenTokens, self.thresholds.betweenTokens,
                Self.betweenTokensNoise
            ),
        ]
        var unjudged: [String] = []
        for (name, mine, theirs, limit, noise) in kinds {
            guard let mine, let theirs, self.isEnough(mine), self.isEnough(theirs) else {
                let counts = "\(mine?.count ?? 0) by \(self.newName), \(theirs?.count ?? 0) by \(self.oldName)"
                unjudged.append("\(name) was not judged in \(span), too few streams (\(counts))")
                continue
            }
            if let reason = self.slowness(name, mine, theirs, limit: limit, noise: noise) { return .broken(reason) }
        }
        return unjudged.isEmpty ? .fine : .tooFew(unjudged.joined(separator: "; "))
    }

    /// A single error is no rate, unless none at all is allowed; five among few requests are enough to go by.
    private func errors(of new: GenerationFigures) -> String? {
        let isStrict = self.thresholds.errorRate == 0
        let isMany = new.requests >= self.thresholds.minimumRequests
        let least = isStrict ? 1 : isMany ? 2 : 5
        guard new.errors >= least, new.requests > 0 else { return nil }
        let rate = Double(new.errors) / Double(new.requests)
        guard rate > self.thresholds.errorRate else { return nil }
        return
            "\(new.errors) of \(Self.count(new.requests, "request")) to \(self.newName) failed (\(Self.rounded(rate * 100))%); "
            + "the limit is \(Self.rounded(self.thresholds.errorRate * 100))%"
    }

    private func slowness(
        _ name: String,
        _ new: GenerationFigures.Times,
        _ old: GenerationFigures.Times,
        limit: Double,
        noise: Double
    ) -> String? {
        guard new.median - old.median >= noise, new.median > old.median * limit else { return nil }
        let times = old.median > 0 ? "\(Self.rounded(new.median / old.median)) times " : "against "
        return
            "\(name) \(Self.milliseconds(new.median)) (median of \(new.count)), \(times)\(self.oldName)'s \(Self.milliseconds(old.median)); "
            + "the limit is \(Self.rounded(limit)) times"
    }

    private func isEnough(_ times: GenerationFigures.Times?) -> Bool {
        guard let times else { return false }
        return times.count >= self.thresholds.minimumRequests && times.median.isFinite
    }

    // MARK: Words

    private static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

    private static func milliseconds(_ seconds: Double) -> String { "\(self.rounded(seconds * 1000)) ms" }

    /// With one digit after the point below a hundred.
    private static func rounded(_ number: Double) -> String {
        guard number.isFinite, abs(number) < 1e15 else { return "\(number)" }
        let value = abs(number) < 100 ? (number * 10).rounded() / 10 : number.rounded()
        return value == value.rounded() ? String(Int(value)) : String(value)
    }
}
