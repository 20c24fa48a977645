package import KVEvents
package import Logging
package import NATS

/// The event plane of a process that routes: where it hears what workers hold and what other routers do.
package struct RoutingPlane: Sendable {
    /// The planes that Dynamo has, as `DYN_EVENT_PLANE` names them.
    package enum Kind: String, Sendable, CaseIterable {
        case nats
        case zmq
    }

    let nats: NATSEventPlane

    /// A plane on NATS that is connected already; the caller closes it here.
    package init(_ nats: NATSEventPlane) { self.nats = nats }

    /// Connects to NATS.
    ///
    /// - Parameters:
    ///   - nats: servers and credentials.
    ///   - logger: hears of lost and regained connections.
    /// - Returns: the plane, which the caller must close.
    /// - Throws: `NATSError` when no server can be reached, or it refuses.
    package static func connect(_ nats: NATSConfiguration, logger: Logger) async throws(NATSError) -> RoutingPlane {
        RoutingPlane(try await .connect(nats, logger: logger))
    }

    /// Writes what waits, and closes the connection.
    package func close() async { await self.nats.close() }
}
