import FoundationEssentials
package import Logging

/// How a gateway in a process of its own is started.
package struct GatewayProcessConfiguration: Sendable, Hashable, Codable {
    /// With the sockets that it is given, as inherited ones.
    package var gateway: GatewayConfiguration
    /// What the launcher wanted, see ``GatewayConfiguration/identity``: a later launcher compares it with what it wants itself.
    package var identity: GatewayConfiguration
    /// Files of Unix sockets that are removed when the port is closed.
    package var socketFiles: [String]
    /// Where it takes commands.
    package var controlSocket: String
    /// Another process still accepts connections on the same sockets: this one waits until it is told to, or nobody can tell it.
    package var awaitsTurn: Bool

    package init(
        gateway: GatewayConfiguration,
        identity: GatewayConfiguration,
        socketFiles: [String],
        controlSocket: String,
        awaitsTurn: Bool = false
    ) {
        self.gateway = gateway
        self.identity = identity
        self.socketFiles = socketFiles
        self.controlSocket = controlSocket
        self.awaitsTurn = awaitsTurn
    }

    /// As the process reads it.
    package var encoded: [UInt8] { (try? JSONEncoder().encode(self)).map { Array($0) } ?? [] }

    /// Reads it.
    ///
    /// - Throws: why it is none.
    package init(reading bytes: [UInt8]) throws { self = try JSONDecoder().decode(Self.self, from: Data(bytes)) }
}

/// Where requests go.
package struct GatewayTraffic: Sendable, Hashable, Codable {
    package var backends: [Backend]
    /// As for ``Gateway/setBackends(_:shares:)``.
    package var shares: [Int: Int]?

    package init(backends: [Backend] = [], shares: [Int: Int]? = nil) {
        self.backends = backends
        self.shares = shares
    }
}

/// What a launcher asks of a gateway in another process.
package enum GatewayCommand: Sendable, Hashable, Codable {
    /// Has no answer.
    case setTraffic(GatewayTraffic)
    case keepSocketFiles
    case drain(within: Duration)
    /// Has no answer.
    case beginAccepting
    case stopAccepting
    case pause(ifIdleFor: Duration)
    case waitUntilBackendIsIdle(Backend, within: Duration)
    case waitUntilGenerationIsIdle(Int, within: Duration)
    case figures(generation: Int)
    case idleTime
    case status

    /// Whether it may be asked of the process that takes the place of one that has ended.
    var canBeAskedAgain: Bool {
        switch self {
        case .setTraffic, .keepSocketFiles, .waitUntilBackendIsIdle, .waitUntilGenerationIsIdle, .figures, .idleTime,
            .status:
            true
        case .drain, .pause, .beginAccepting, .stopAccepting: false
        }
    }
}

/// A command with the number that its answer has.
package struct GatewayCall: Sendable, Hashable, Codable {
    package var id: UInt64
    package var command: GatewayCommand

    package init(id: UInt64, command: GatewayCommand) {
        self.id = id
        self.command = command
    }
}

/// The answer to a command.
package enum GatewayAnswer: Sendable, Hashable, Codable {
    case done(Bool)
    case figures(TrafficFigures)
    case idleTime(Duration)
    case status(GatewayStatus)
}

/// What a gateway in another process says.
package enum GatewayMessage: Sendable, Hashable, Codable {
    /// First on each connection.
    case hello(GatewayHello)
    case answer(id: UInt64, GatewayAnswer)
    case log(GatewayLogLine)
}

/// Who a gateway is, and what it does.
package struct GatewayHello: Sendable, Hashable, Codable {
    /// Raised when a message changes its meaning: launchers and gateways may be of different releases.
    package static let currentVersion = 1

    package var version = Self.currentVersion
    package var processID: Int32
    /// Where it listens, for display.
    package var addresses: [String]
    package var identity: GatewayConfiguration
    package var traffic: GatewayTraffic
    package var isDraining: Bool

    package init(
        processID: Int32,
        addresses: [String],
        identity: GatewayConfiguration,
        traffic: GatewayTraffic,
        isDraining: Bool
    ) {
        self.processID = processID
        self.addresses = addresses
        self.identity = identity
        self.traffic = traffic
        self.isDraining = isDraining
    }
}

/// A line of a gateway's log.
package struct GatewayLogLine: Sendable, Hashable, Codable {
    package var level: Logger.Level
    package var message: String
    package var metadata: [String: String]

    package init(_ level: Logger.Level, _ message: String, _ metadata: [String: String] = [:]) {
        self.level = level
        self.message = message
        self.metadata = metadata
    }
}

extension GatewayConfiguration {
    /// The same without what differs between two processes: the numbers of descriptors.
    package var identity: GatewayConfiguration {
        var identity = self
        identity.listeners = self.listeners.map { listener in
            guard case .inherited(_, let name, let tls) = listener else { return listener }
            return .inherited(descriptor: -1, name: name, tls: tls)
        }
        return identity
    }
}
