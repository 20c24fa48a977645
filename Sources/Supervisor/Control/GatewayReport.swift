/// The public port at one moment, when a gateway serves it.
///
/// Counters begin with the process that has the port.
package struct GatewayReport: Sendable, Hashable, Codable {
    /// The process that has the port; nil: the launcher.
    package var pid: Int32?
    /// Where clients connect.
    package var addresses: [String]
    /// Open connections of clients.
    package var connections: Int
    /// Requests that wait for a frontend, and the bytes of theirs that are kept.
    package var held: Int
    package var heldBytes: Int
    /// Requests at frontends.
    package var inFlight: Int
    /// Requests that were answered by the gateway itself, with an error.
    package var refused: Int
    package var backends: [Backend]

    /// What one frontend got.
    package struct Backend: Sendable, Hashable, Codable {
        package var name: String
        package var generation: Int
        package var requests: Int
        package var inFlight: Int
        package var errors: Int
        package var retries: Int
        /// Whether new requests go there.
        package var isActive: Bool
        /// Whether they could: one of a generation that has no share is ready and gets nothing.
        package var isReady: Bool

        package init(
            name: String,
            generation: Int,
            requests: Int,
            inFlight: Int,
            errors: Int,
            retries: Int,
            isActive: Bool,
            isReady: Bool? = nil
        ) {
            self.name = name
            self.generation = generation
            self.requests = requests
            self.inFlight = inFlight
            self.errors = errors
            self.retries = retries
            self.isActive = isActive
            self.isReady = isReady ?? isActive
        }
    }

    package init(
        pid: Int32? = nil,
        addresses: [String],
        connections: Int,
        held: Int,
        heldBytes: Int,
        inFlight: Int,
        refused: Int,
        backends: [Backend]
    ) {
        self.pid = pid
        self.addresses = addresses
        self.connections = connections
        self.held = held
        self.heldBytes = heldBytes
        self.inFlight = inFlight
        self.refused = refused
        self.backends = backends
    }
}
