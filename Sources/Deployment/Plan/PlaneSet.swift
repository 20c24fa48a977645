/// The planes of a deployment; one value for all its processes.
package struct PlaneSet: Sendable, Hashable, Codable {
    /// The plane that carries requests.
    package enum Request: String, Sendable, Hashable, Codable, CaseIterable {
        case tcp, http, nats
    }

    /// The plane that carries KV events.
    package enum Events: String, Sendable, Hashable, Codable, CaseIterable {
        case none
        case natsCore = "nats-core"
        case jetstream
        case zmq

        /// Whether a NATS server is needed.
        package var usesNATS: Bool { self == .natsCore || self == .jetstream }
    }

    /// The plane that carries answers back.
    package enum Response: String, Sendable, Hashable, Codable, CaseIterable {
        case tcp, quic
    }

    package var request: Request
    package var events: Events
    package var response: Response

    package init(request: Request, events: Events, response: Response = .tcp) {
        self.request = request
        self.events = events
        self.response = response
    }

    /// Whether any plane needs a NATS server.
    package var usesNATS: Bool { self.request == .nats || self.events.usesNATS }
}

/// How processes find each other.
package enum DiscoveryPlan: Sendable, Hashable, Codable {
    /// A directory on this machine.
    case file(directory: String)
    /// An etcd cluster, by its client URLs.
    case etcd(endpoints: [String])
    /// Inside one process only.
    case memory
}

/// A release of Dynamo, `major.minor.patch`.
package struct DynamoRelease: Sendable, Hashable, Codable, Comparable, CustomStringConvertible {
    package var major: Int
    package var minor: Int
    package var patch: Int

    package init(_ major: Int, _ minor: Int, _ patch: Int) {
        self.major = major
        self.minor = minor
        self.patch = patch
    }

    package var description: String { "\(self.major).\(self.minor).\(self.patch)" }

    package static func < (lhs: Self, rhs: Self) -> Bool {
        (lhs.major, lhs.minor, lhs.patch) < (rhs.major, rhs.minor, rhs.patch)
    }
}
