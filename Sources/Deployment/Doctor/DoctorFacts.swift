/// All that is known of processes that may serve together, and of what is around them.
package struct DoctorFacts: Sendable {
    /// What a place of discovery has.
    package struct Discovery: Sendable {
        /// ``FoundProcess/discoveryPlace`` of those that use it.
        package var place: String
        package var instances: [Registered]
        /// Records whose owners do not renew them any more.
        package var expired: [Expired]
        /// Why it could not be read.
        package var failure: String?

        package init(
            place: String,
            instances: [Registered] = [],
            expired: [Expired] = [],
            failure: String? = nil
        ) {
            self.place = place
            self.instances = instances
            self.expired = expired
            self.failure = failure
        }
    }

    /// A running copy of an endpoint, as discovery has it.
    package struct Registered: Sendable, Hashable {
        /// What came of a connection to its address.
        package enum Reach: Sendable, Hashable {
            case open
            case refused
            /// In words.
            case blocked(String)
            /// Its plane has no address to connect to.
            case unasked
        }

        package var namespace: String
        /// `component.endpoint`.
        package var endpoint: String
        /// As the record has it, hexadecimal.
        package var id: String
        package var plane: String
        package var address: String
        package var reach: Reach
        /// The process that serves it, if it is one of those examined.
        package var pid: Int32?

        package init(
            namespace: String,
            endpoint: String,
            id: String,
            plane: String,
            address: String,
            reach: Reach = .unasked,
            pid: Int32? = nil
        ) {
            self.namespace = namespace
            self.endpoint = endpoint
            self.id = id
            self.plane = plane
            self.address = address
            self.reach = reach
            self.pid = pid
        }
    }

    package struct Expired: Sendable, Hashable {
        package var key: String
        /// Seconds since its owner has renewed it.
        package var age: Double

        package init(key: String, age: Double) {
            self.key = key
            self.age = age
        }
    }

    /// What a NATS server says of itself in its `INFO`.
    package struct NATSServer: Sendable, Hashable {
        package var version: String
        /// Bytes of one message.
        package var maxPayload: Int
        package var hasHeaders: Bool
        package var hasJetStream: Bool

        package init(version: String, maxPayload: Int, hasHeaders: Bool, hasJetStream: Bool) {
            self.version = version
            self.maxPayload = maxPayload
            self.hasHeaders = hasHeaders
            self.hasJetStream = hasJetStream
        }
    }

    package enum NATSAnswer: Sendable, Hashable {
        case server(NATSServer)
        case silence(String)
    }

    /// Who listens on a port.
    package struct Holder: Sendable, Hashable {
        package var pid: Int32
        package var words: String

        package init(pid: Int32, words: String) {
            self.pid = pid
            self.words = words
        }
    }

    /// What a launcher says of its deployment.
    package struct Launched: Sendable {
        package struct Replica: Sendable {
            package var name: String
            package var role: Role
            /// As `status` has it.
            package var state: String
            package var waitingFor: String?
            package var lastExit: String?
            package var restarts: Int
            /// The last ones that it wrote.
            package var lines: [String]
            package var logFile: String

            package init(
                name: String,
                role: Role,
                state: String,
                waitingFor: String? = nil,
                lastExit: String? = nil,
                restarts: Int = 0,
                lines: [String] = [],
                logFile: String
            ) {
                self.name = name
                self.role = role
                self.state = state
                self.waitingFor = waitingFor
                self.lastExit = lastExit
                self.restarts = restarts
                self.lines = lines
                self.logFile = logFile
            }
        }

        package var name: String
        package var failure: String?
        package var warnings: [String]
        package var replicas: [Replica]

        package init(name: String, failure: String? = nil, warnings: [String] = [], replicas: [Replica] = []) {
            self.name = name
            self.failure = failure
            self.warnings = warnings
            self.replicas = replicas
        }
    }

    /// A deployment that goes on without its launcher (`survive: true`).
    package struct Orphaned: Sendable, Hashable {
        package var name: String
        /// When its launcher ended, in words.
        package var launcherEnded: String
        /// How many of its processes run.
        package var running: Int
        /// How many have ended since.
        package var ended: Int

        package init(name: String, launcherEnded: String, running: Int, ended: Int = 0) {
            self.name = name
            self.launcherEnded = launcherEnded
            self.running = running
            self.ended = ended
        }
    }

    /// nil: no launcher runs them.
    package var launched: Launched?
    /// nil: none did.
    package var orphaned: Orphaned?
    package var processes: [FoundProcess]
    package var discoveries: [Discovery]
    /// By the URL that processes were told.
    package var nats: [String: NATSAnswer]
    /// Who has the ports that the processes want.
    package var holders: [Int: Holder]
    /// The ids that workers' system servers name, by pid; hexadecimal.
    package var instances: [Int32: String]

    package init(
        launched: Launched? = nil,
        orphaned: Orphaned? = nil,
        processes: [FoundProcess] = [],
        discoveries: [Discovery] = [],
        nats: [String: NATSAnswer] = [:],
        holders: [Int: Holder] = [:],
        instances: [Int32: String] = [:]
    ) {
        self.launched = launched
        self.orphaned = orphaned
        self.processes = processes
        self.discoveries = discoveries
        self.nats = nats
        self.holders = holders
        self.instances = instances
    }
}

extension FoundProcess {
    /// What says that two processes look into the same place of discovery.
    package var discoveryPlace: String { FoundDeployment.place(of: self).joined(separator: " ") }

    /// Where it registers and looks; nil when that is inside of itself, or unknown.
    package var discoveryPlan: DiscoveryPlan? {
        let (backend, place) = self.discovery
        guard let place = place?.value else { return nil }
        switch backend.value {
        case "etcd": return .etcd(endpoints: place.split(separator: ",").map(String.init))
        case "file":
            return .file(
                directory: self.process.workingDirectory.map { FilePathText.resolve(place, against: $0) } ?? place
            )
        default: return nil
        }
    }

    /// The NATS server that it connects to, needed or not.
    package var natsURL: String? {
        (self.nats ?? self.setting(nil, "NATS_SERVER"))?.value ?? (self.keepsEvents ? "nats://localhost:4222" : nil)
    }

    /// The ports that it wants to listen on, with what they are for.
    package var wantedPorts: [(use: String, port: Int)] {
        [("HTTP", self.httpPort), ("system", self.systemPort)].compactMap { use, port in
            port.flatMap { $0 > 0 ? (use, $0) : nil }
        }
    }

    /// Whether a frontend takes workers of a namespace.
    func sees(_ namespace: String) -> Bool {
        if let prefix = self.namespacePrefix?.value { return namespace.hasPrefix(prefix) }
        return self.namespace.map { $0.value == namespace } ?? true
    }

    /// Which namespaces a frontend takes, in words.
    var viewWords: String {
        if let prefix = self.namespacePrefix { return "namespaces that begin with \(prefix.words)" }
        return self.namespace.map { "namespace \($0.words)" } ?? "every namespace"
    }
}
