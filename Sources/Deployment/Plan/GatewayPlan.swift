/// How the launcher serves the public port itself, in front of the frontends.
package struct GatewayPlan: Sendable, Hashable, Codable {
    /// What it is called beside the processes.
    package static let name = "gateway"

    /// What may wait while no frontend is ready.
    package struct Hold: Sendable, Hashable, Codable {
        /// How many requests; 0 refuses at once.
        package var requests: Int
        /// How many bytes of their bodies.
        package var bytes: Int
        /// How long, in seconds.
        package var time: Double

        package init(requests: Int = 1024, bytes: Int = 64 << 20, time: Double = 60) {
            self.requests = requests
            self.bytes = bytes
            self.time = time
        }
    }

    package var hold: Hold
    /// The longest body of a request, in bytes.
    package var bodyLimit: Int
    /// How many connections clients may have.
    package var connections: Int
    /// Everything is stopped when no request was there for so long, in seconds, and a service manager holds the public socket;
    /// nil: never.
    package var idleExit: Double?

    package init(
        hold: Hold = Hold(),
        bodyLimit: Int = 64 << 20,
        connections: Int = 16384,
        idleExit: Double? = nil
    ) {
        self.hold = hold
        self.bodyLimit = bodyLimit
        self.connections = connections
        self.idleExit = idleExit
    }
}
