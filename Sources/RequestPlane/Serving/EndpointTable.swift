internal import Synchronization

/// An endpoint that a server serves.
package final class ServedEndpoint: Sendable {
    package let id: EndpointID
    package let instance: InstanceID
    package let handler: RequestHandler
    package let meter: EndpointMeter

    package init(id: EndpointID, instance: InstanceID, handler: @escaping RequestHandler) {
        self.id = id
        self.instance = instance
        self.handler = handler
        self.meter = EndpointMeter(endpoint: id, instance: instance)
    }
}

/// The endpoints of one server, by the path that requests carry.
package final class EndpointTable: Sendable {
    private let state = Mutex(State())

    private struct State {
        var endpoints: [String: ServedEndpoint] = [:]
        /// Statistics outlive an endpoint, so that counters never go back.
        var meters: [EndpointMeter] = []
    }

    package init() {}

    /// Adds an endpoint under the first free of several paths.
    ///
    /// - Parameters:
    ///   - endpoint: what to serve.
    ///   - paths: in order of preference.
    /// - Returns: the path that was taken.
    /// - Throws: `RequestPlaneError` when the endpoint is served already.
    package func add(_ endpoint: ServedEndpoint, paths: [String]) throws(RequestPlaneError) -> String {
        let path = self.state.withLock { state -> String? in
            guard !state.endpoints.values.contains(where: { $0.id == endpoint.id }) else { return nil }
            guard let path = paths.first(where: { state.endpoints[$0] == nil }) else { return nil }
            state.endpoints[path] = endpoint
            state.meters.append(endpoint.meter)
            return path
        }
        guard let path else {
            throw RequestPlaneError(
                .invalidConfiguration,
                "endpoint \(endpoint.id) is served already; unregister it first"
            )
        }
        return path
    }

    /// Removes an endpoint; requests in flight go on.
    package func remove(_ id: EndpointID) {
        self.state.withLock { state in state.endpoints = state.endpoints.filter { $0.value.id != id } }
    }

    package subscript(path: String) -> ServedEndpoint? { self.state.withLock { $0.endpoints[path] } }

    /// One snapshot for each endpoint that is or was served.
    package var statistics: [EndpointStatistics] { self.state.withLock { $0.meters }.map(\.snapshot) }
}
