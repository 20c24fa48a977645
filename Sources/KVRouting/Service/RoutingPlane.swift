import Discovery
package import KVEvents
package import KVRouter
package import Logging
package import NATS
import RequestPlane

/// The event plane of a process that routes: where it hears what workers hold and what other routers do.
package struct RoutingPlane: Sendable {
    /// The planes that Dynamo has, as `DYN_EVENT_PLANE` names them.
    package enum Kind: String, Sendable, CaseIterable {
        case nats
        case zmq

        /// What a router with these settings cannot have on this plane.
        ///
        /// - Parameters:
        ///   - configuration: the router's settings.
        ///   - isBrokered: whether `DYN_ZMQ_BROKER_*` are set.
        /// - Returns: a sentence for each.
        package func problems(_ configuration: RouterConfiguration, isBrokered: Bool) -> [String] {
            guard self == .zmq else { return [] }
            var problems: [String] = []
            if configuration.usesDurableKVEvents {
                problems.append(
                    "durable KV events are on NATS only, and DYN_EVENT_PLANE is zmq; set DYN_EVENT_PLANE=nats"
                )
            }
            if isBrokered {
                problems.append(
                    "a broker of the ZeroMQ event plane is set, but each publisher is connected to directly here; "
                        + "unset DYN_ZMQ_BROKER_URL and DYN_ZMQ_BROKER_ENABLED"
                )
            }
            return problems
        }
    }

    enum Way: Sendable {
        case nats(NATSEventPlane)
        case zmq(ZMQEventPlane)
    }

    let way: Way

    /// A plane on NATS that is connected already; the caller closes it here.
    package init(_ nats: NATSEventPlane) { self.way = .nats(nats) }

    /// A plane on ZeroMQ; the caller closes it here.
    package init(_ zmq: ZMQEventPlane) { self.way = .zmq(zmq) }

    /// Connects to NATS.
    ///
    /// - Parameters:
    ///   - nats: servers and credentials.
    ///   - logger: hears of lost and regained connections.
    /// - Returns: the plane, which the caller must close.
    /// - Throws: `NATSError` when no server can be reached, or it refuses.
    package static func connect(_ nats: NATSConfiguration, logger: Logger) async throws(NATSError) -> RoutingPlane {
        RoutingPlane(try await NATSEventPlane.connect(nats, logger: logger))
    }

    /// Opens the plane on ZeroMQ, which needs no server.
    ///
    /// - Parameters:
    ///   - host: the address of this process that other routers are told.
    ///   - logger: hears of sockets that do not work.
    /// - Returns: the plane, which the caller must close.
    /// - Throws: `ZMQError` when the system has no thread or descriptor left.
    package static func zmq(announcing host: String, logger: Logger) throws(ZMQError) -> RoutingPlane {
        RoutingPlane(try ZMQEventPlane(announcing: host, logger: logger))
    }

    /// Where this process publishes.
    var plane: any EventPlane {
        switch self.way {
        case .nats(let plane): plane
        case .zmq(let plane): plane
        }
    }

    /// Writes what waits, and leaves the plane.
    package func close() async { await self.plane.close() }
}

extension DiscoverySnapshot {
    /// Who publishes a topic about the workers of an endpoint on ZeroMQ, and in which form.
    func zmqPublishers(_ topic: KVEventTopic, of endpoint: EndpointID) -> [String: EventChannelRecord] {
        var publishers: [String: EventChannelRecord] = [:]
        for record in self.eventChannels where record.topic == topic.rawValue && record.scope.covers(endpoint) {
            if case .zmq(let address) = record.transport { publishers[address] = record }
        }
        return publishers
    }
}

extension EventChannelRecord {
    /// Endpoints have events of their own since 1.6.
    var form: DynamoEventForm { if case .endpoint = self.scope { .release16 } else { .release12 } }
}
