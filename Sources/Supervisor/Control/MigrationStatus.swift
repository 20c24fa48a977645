package import Deployment

/// Where a migration is.
///
/// In the order in which they are passed; which ones there are depends on the strategy.
package enum MigrationStep: String, Sendable, Hashable, Codable, CaseIterable {
    /// Manifest, release, GPUs, ports and servers are looked at; nothing has been changed.
    case preparing
    /// `recreate` only: the old generation answers what it has and is stopped; the gateway holds what comes.
    case emptying
    /// The new generation (with `rolling`: its frontends and first workers) starts; done when it is ready through every layer.
    case starting
    /// Discovery is compared with both plans.
    case verifying
    /// Probe requests through the new generation.
    case canary
    /// A person is asked, with `--confirm`.
    case confirming
    /// More of the requests go to the new generation (with `rolling`: more of the workers).
    case shifting
    /// Its figures are compared with the old generation's.
    case observing
    /// The old generation gets nothing new and answers what it has.
    ///
    /// From here on the new generation is what the deployment is started as.
    case draining
    /// The old generation is kept running for an instant return.
    case warm
    /// The old generation is stopped.
    case retiring
    /// The old generation is brought back to what it was, and the new one is stopped.
    case rollingBack = "rolling-back"
    /// The new generation serves, and the old one is gone.
    case done
    /// The old generation serves as before, and the new one is gone.
    case rolledBack = "rolled-back"
    /// Neither could be kept.
    case failed

    /// Whether nothing comes after it.
    package var isEnd: Bool { self == .done || self == .rolledBack || self == .failed }
}

/// A migration that was asked for.
package struct MigrationRequest: Sendable, Hashable, Codable {
    /// `tcp`, `http` or `nats`; nil: as the manifest says.
    package var requestPlane: String?
    /// Another manifest, as an absolute path; nil: the running generation's.
    package var manifest: String?
    /// Keys of the manifest that are changed, as for `--set`.
    package var set: [String]
    package var strategy: MigrationSettings.Strategy?
    package var steps: [Int]?
    /// Seconds.
    package var observe: Double?
    /// Seconds.
    package var rollbackWindow: Double?
    /// Whether a person is asked before clients reach the new generation.
    package var confirm: Bool

    package init(
        requestPlane: String? = nil,
        manifest: String? = nil,
        set: [String] = [],
        strategy: MigrationSettings.Strategy? = nil,
        steps: [Int]? = nil,
        observe: Double? = nil,
        rollbackWindow: Double? = nil,
        confirm: Bool = false
    ) {
        self.requestPlane = requestPlane
        self.manifest = manifest
        self.set = set
        self.strategy = strategy
        self.steps = steps
        self.observe = observe
        self.rollbackWindow = rollbackWindow
        self.confirm = confirm
    }
}

/// What a person may want of a migration that is under way.
package enum MigrationCommand: String, Sendable, Hashable, Codable, CaseIterable {
    case pause, resume, promote, abort
    /// As `abort`, and the return from `warm`.
    case rollback
}

/// What a migration would do.
package struct MigrationOutline: Sendable, Hashable, Codable {
    package var from: String
    package var to: String
    package var strategy: MigrationSettings.Strategy
    /// In the order in which they are done, in words.
    package var steps: [String]
    /// What is needed beside what runs: GPUs, ports, servers, in words.
    package var needs: [String]
    /// How long requests are expected to be held, in words; nil: none is held.
    package var gap: String?
    package var notes: [String]

    package init(
        from: String,
        to: String,
        strategy: MigrationSettings.Strategy,
        steps: [String],
        needs: [String],
        gap: String?,
        notes: [String]
    ) {
        self.from = from
        self.to = to
        self.strategy = strategy
        self.steps = steps
        self.needs = needs
        self.gap = gap
        self.notes = notes
    }
}

/// A migration at one moment.
package struct MigrationStatus: Sendable, Hashable, Codable {
    /// One of the two generations.
    package struct Generation: Sendable, Hashable, Codable {
        package var number: Int
        package var requestPlane: String
        /// The release of Dynamo, if there is one.
        package var release: String?
        package var manifest: String?
        /// Replicas that are ready, and all.
        package var ready: Int
        package var replicas: Int
        /// Since the migration began.
        package var requests: Int
        package var errors: Int
        package var inFlight: Int
        /// In seconds; nil while there is too little to tell.
        package var firstToken: Double?
        package var betweenTokens: Double?

        package init(
            number: Int,
            requestPlane: String,
            release: String? = nil,
            manifest: String? = nil,
            ready: Int = 0,
            replicas: Int = 0,
            requests: Int = 0,
            errors: Int = 0,
            inFlight: Int = 0,
            firstToken: Double? = nil,
            betweenTokens: Double? = nil
        ) {
            self.number = number
            self.requestPlane = requestPlane
            self.release = release
            self.manifest = manifest
            self.ready = ready
            self.replicas = replicas
            self.requests = requests
            self.errors = errors
            self.inFlight = inFlight
            self.firstToken = firstToken
            self.betweenTokens = betweenTokens
        }
    }

    /// Counts a deployment's migrations.
    package var id: Int
    package var from: Generation
    package var to: Generation
    package var strategy: MigrationSettings.Strategy
    package var step: MigrationStep
    /// Of `shifting` and `observing`: which one, from 1, and how many there are.
    package var stage: Int?
    package var stages: Int
    /// Percent of the requests that the new generation gets.
    package var share: Int
    package var isPaused: Bool
    /// What is waited for or done, in words.
    package var detail: String?
    /// What happens next, in words, and when, in seconds; nil: when this is done.
    package var next: String?
    package var nextIn: Double?
    /// Seconds since the migration began, and since this step did.
    package var elapsed: Double
    package var stepElapsed: Double
    /// Why it is or was taken back, or has failed.
    package var reason: String?
    /// Whether the whole deployment is being stopped, which has ended the migration: nothing serves then.
    package var isStopped: Bool
    /// What a person should know.
    package var notes: [String]

    package init(
        id: Int,
        from: Generation,
        to: Generation,
        strategy: MigrationSettings.Strategy,
        step: MigrationStep,
        stage: Int? = nil,
        stages: Int,
        share: Int = 0,
        isPaused: Bool = false,
        detail: String? = nil,
        next: String? = nil,
        nextIn: Double? = nil,
        elapsed: Double = 0,
        stepElapsed: Double = 0,
        reason: String? = nil,
        isStopped: Bool = false,
        notes: [String] = []
    ) {
        self.id = id
        self.from = from
        self.to = to
        self.strategy = strategy
        self.step = step
        self.stage = stage
        self.stages = stages
        self.share = share
        self.isPaused = isPaused
        self.detail = detail
        self.next = next
        self.nextIn = nextIn
        self.elapsed = elapsed
        self.stepElapsed = stepElapsed
        self.reason = reason
        self.isStopped = isStopped
        self.notes = notes
    }
}

/// A migration of the past, or the one that is under way.
package struct MigrationRecord: Sendable, Hashable, Codable {
    package var id: Int
    /// ISO 8601, UTC.
    package var began: String
    package var ended: String?
    /// Such as `1 (tcp)`.
    package var from: String
    package var to: String
    package var strategy: MigrationSettings.Strategy
    /// The last one.
    package var step: MigrationStep
    package var reason: String?

    package init(
        id: Int,
        began: String,
        ended: String?,
        from: String,
        to: String,
        strategy: MigrationSettings.Strategy,
        step: MigrationStep,
        reason: String? = nil
    ) {
        self.id = id
        self.began = began
        self.ended = ended
        self.from = from
        self.to = to
        self.strategy = strategy
        self.step = step
        self.reason = reason
    }
}

/// Why nothing was done.
package struct MigrationRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Cause: Sendable, Hashable {
        /// The deployment is in no state for it.
        case conflict
        /// The manifest has errors, or what it needs is not there.
        case badManifest
    }

    package var cause: Cause
    package var description: String

    package init(cause: Cause, description: String) {
        self.cause = cause
        self.description = description
    }
}

/// Whoever moves the deployment from one generation to the next, as the control interface sees it.
package protocol MigrationControl: Sendable {
    /// What a migration would do; nothing is done.
    func outline(_ request: MigrationRequest) async throws(MigrationRefusal) -> MigrationOutline

    /// Begins one.
    ///
    /// - Returns: its status, again and again: at each change and each second, to its end.
    func migrate(_ request: MigrationRequest) async throws(MigrationRefusal) -> AsyncStream<MigrationStatus>

    /// Obeys, or says why not.
    func command(_ command: MigrationCommand) async throws(MigrationRefusal) -> MigrationStatus

    /// The one that is under way, or the last one; nil: there was none since the launcher started.
    func status() async -> MigrationStatus?

    /// The status of the one that is under way, again and again, to its end; nil: there is none.
    func follow() async -> AsyncStream<MigrationStatus>?

    /// All of them, the latest last.
    func history() async -> [MigrationRecord]
}
