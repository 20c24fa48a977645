/// Something about running processes that a person should know.
package struct Finding: Sendable, Hashable, Codable {
    package enum Severity: String, Sendable, Hashable, Codable, CaseIterable, Comparable {
        /// Requests fail, or will.
        case error
        /// Something does not do what it is there for.
        case warning
        /// Nothing is wrong with it.
        case note

        package static func < (lhs: Self, rhs: Self) -> Bool {
            (Self.allCases.firstIndex(of: lhs) ?? 0) < (Self.allCases.firstIndex(of: rhs) ?? 0)
        }
    }

    /// What it is, for programs.
    ///
    /// `docs/request-planes.md` explains each.
    package enum Kind: String, Sendable, Hashable, Codable, CaseIterable {
        // What processes were told.
        case requestPlanesDiffer = "request-planes-differ"
        case eventPlanesDiffer = "event-planes-differ"
        case responsePlanesDiffer = "response-planes-differ"
        case codecsDiffer = "codecs-differ"
        case natsServersDiffer = "nats-servers-differ"
        case releasesDiffer = "releases-differ"
        case httpPathsDiffer = "http-paths-differ"
        case hashSeedsDiffer = "hash-seeds-differ"
        case invalidPlane = "invalid-plane"
        case planeNotInRelease = "plane-not-in-release"
        case halfOfTLS = "tls-half"
        case tlsDiffers = "tls-differs"
        case environmentUnreadable = "environment-unreadable"
        // What discovery has.
        case discoveryUnreadable = "discovery-unreadable"
        case recordOnOtherPlane = "record-on-other-plane"
        case staleRecord = "stale-record"
        case addressBlocked = "address-blocked"
        case notRegistered = "not-registered"
        case foreignWorkers = "foreign-workers"
        case workerWithoutFrontend = "worker-without-frontend"
        case frontendWithoutWorkers = "frontend-without-workers"
        // Ports and servers.
        case portTaken = "port-taken"
        case portNotOpen = "port-not-open"
        case notReady = "not-ready"
        case natsUnreachable = "nats-unreachable"
        case natsTooOld = "nats-too-old"
        case natsWithoutJetStream = "nats-without-jetstream"
        case natsPayloadLimit = "nats-payload-limit"
        case natsNotNeeded = "nats-not-needed"
        // What a launcher says, or that there is none any more.
        case launcherGone = "launcher-gone"
        case deploymentFailed = "deployment-failed"
        case deploymentWarning = "deployment-warning"
        case replicaDown = "replica-down"
        case replicaWaiting = "replica-waiting"
        case replicaRestarted = "replica-restarted"
    }

    package var severity: Severity
    package var kind: Kind
    /// In one sentence.
    package var what: String
    package var evidence: [String]
    package var remedy: String

    /// Evidence may have URLs in it, which lose their passwords here.
    init(_ severity: Severity, _ kind: Kind, _ what: String, evidence: [String], remedy: String) {
        self.severity = severity
        self.kind = kind
        self.what = Secrets.masking(url: what)
        self.evidence = evidence.map { Secrets.masking(url: $0) }
        self.remedy = remedy
    }
}
