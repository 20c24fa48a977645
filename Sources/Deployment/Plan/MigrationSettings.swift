/// How a deployment moves from one generation to the next.
package struct MigrationSettings: Sendable, Hashable, Codable {
    /// Which processes of the two generations run at the same time.
    package enum Strategy: String, Sendable, Hashable, Codable, CaseIterable {
        /// A complete second generation beside the first.
        case blueGreen = "blue-green"
        /// The new frontend first, then worker by worker: for machines whose GPUs cannot hold two generations.
        case rolling
        /// The old generation is stopped first; the gateway holds requests meanwhile.
        case recreate
    }

    /// A request that the new generation must answer before clients reach it, beside the built-in ones.
    package struct CanaryCheck: Sendable, Hashable, Codable {
        package var prompt: String
        /// A regular expression that the text of the answer must contain; nil: any answer.
        package var expect: String?
        package var maxTokens: Int
        /// In seconds.
        package var timeout: Double

        package init(prompt: String, expect: String? = nil, maxTokens: Int = 32, timeout: Double = 30) {
            self.prompt = prompt
            self.expect = expect
            self.maxTokens = maxTokens
            self.timeout = timeout
        }
    }

    /// What of the new generation's figures takes the migration back.
    package struct Thresholds: Sendable, Hashable, Codable {
        /// Share of requests that may fail, from 0 to 1.
        package var errorRate: Double
        /// Time to first token: so many times the old generation's.
        package var firstToken: Double
        /// Time between two tokens: so many times the old generation's.
        package var betweenTokens: Double
        /// With fewer requests in a window nothing but errors is judged.
        package var minimumRequests: Int

        package init(
            errorRate: Double = 0.02,
            firstToken: Double = 3,
            betweenTokens: Double = 3,
            minimumRequests: Int = 20
        ) {
            self.errorRate = errorRate
            self.firstToken = firstToken
            self.betweenTokens = betweenTokens
            self.minimumRequests = minimumRequests
        }
    }

    package var strategy: Strategy
    /// Percent of the requests that the new generation gets, step by step; the last one is 100.
    package var steps: [Int]
    package var canary: [CanaryCheck]
    /// How long each step is watched, in seconds.
    package var observe: Double
    package var thresholds: Thresholds
    /// Longest time from start to ready of the new generation, in seconds; nil: as its processes' own limits say.
    package var startTimeout: Double?
    /// How long requests at the old generation may take once it gets no more, in seconds; nil: as its frontends' grace says.
    package var drainTimeout: Double?
    /// How long the old generation is kept running after the new one has everything, in seconds.
    package var rollbackWindow: Double
    /// For `rolling`: so many workers of both generations together stay ready; nil: all but one.
    package var minimumWorkers: Int?

    package init(
        strategy: Strategy = .blueGreen,
        steps: [Int] = [5, 25, 100],
        canary: [CanaryCheck] = [],
        observe: Double = 10,
        thresholds: Thresholds = Thresholds(),
        startTimeout: Double? = nil,
        drainTimeout: Double? = nil,
        rollbackWindow: Double = 60,
        minimumWorkers: Int? = nil
    ) {
        self.strategy = strategy
        self.steps = steps
        self.canary = canary
        self.observe = observe
        self.thresholds = thresholds
        self.startTimeout = startTimeout
        self.drainTimeout = drainTimeout
        self.rollbackWindow = rollbackWindow
        self.minimumWorkers = minimumWorkers
    }
}
