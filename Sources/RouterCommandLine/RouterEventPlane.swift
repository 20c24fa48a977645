package import DynamoRuntime
package import KVRouter
package import KVRouting
package import Logging
import RequestPlaneTransports

/// The event plane that the environment of a process that routes names: checked at its start, connected to when it is needed.
package struct RouterEventPlane: Sendable {
    private enum Way: Sendable {
        case nats
        /// With the address of this process that other routers are told.
        case zmq(String)
    }

    private static let brokers = ["DYN_ZMQ_BROKER_URL", "DYN_ZMQ_BROKER_ENABLED"]

    private let way: Way
    private let environment: ProcessEnvironment

    /// Reads `DYN_EVENT_PLANE` and what belongs to it.
    ///
    /// - Parameters:
    ///   - variables: the environment.
    ///   - environment: the same, as far as it is read already: it has the NATS servers.
    ///   - configuration: of the router.
    /// - Throws: `ConfigurationError` that names everything that cannot be used.
    package init(
        _ variables: [String: String],
        _ environment: ProcessEnvironment,
        _ configuration: RouterConfiguration
    ) throws(ConfigurationError) {
        self.environment = environment
        var reader = EnvironmentReader(variables)
        let kind = reader.choice("DYN_EVENT_PLANE", default: RoutingPlane.Kind.nats)
        let isBrokered = Self.brokers.contains { reader.string($0) != nil }
        let problems = reader.problems + kind.problems(configuration, isBrokered: isBrokered)
        guard problems.isEmpty else { throw ConfigurationError(problems) }
        switch kind {
        case .nats: self.way = .nats
        case .zmq:
            let variable = "DYN_EVENT_PLANE_HOST"
            do { self.way = .zmq(try LocalAddress.announced(reader.string(variable), in: variable)) } catch {
                throw ConfigurationError(["\(error)"])
            }
        }
    }

    /// Connects.
    ///
    /// - Parameter logger: hears of lost and regained connections.
    /// - Returns: the plane, which the caller must close.
    /// - Throws: what is wrong with the environment's NATS settings, `NATSError` or `ZMQError`.
    package func connect(logger: Logger) async throws -> RoutingPlane {
        switch self.way {
        case .nats: try await .connect(try self.environment.requestPlane.nats.connection.get(), logger: logger)
        case .zmq(let host): try .zmq(announcing: host, logger: logger)
        }
    }
}
