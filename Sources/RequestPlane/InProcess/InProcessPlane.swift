/// A request plane inside one process, without sockets: for tests of what is built on a plane.
///
/// It keeps every promise of the protocols: back-pressure, cancellation both ways, refusals, drain. The mode that it states is `tcp`; its
/// addresses are only known to its own client.
public final class InProcessPlane: Sendable {
    private let core: InProcessServer

    /// Creates a plane that serves nothing yet.
    ///
    /// - Parameter capacity: how many requests are answered at once; more are refused as overload.
    public init(capacity: Int = .max) { self.core = InProcessServer(capacity: capacity) }

    /// Serves endpoints; its `run()` must be running for requests to be answered.
    public var server: any RequestPlaneServer { self.core }

    /// Calls them.
    public var client: any RequestPlaneClient { InProcessClient(server: self.core) }

    /// What was counted for each endpoint that is or was served.
    public var statistics: [EndpointStatistics] { self.core.statistics }
}

/// Hands requests to the server of the same plane.
struct InProcessClient: RequestPlaneClient {
    let server: InProcessServer

    func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
        let buffer = ResponseBuffer(highMark: 4096, lowMark: 1024)
        do {
            try self.server.dispatch(request, to: instance, buffer)
            try await buffer.waitUntilAccepted()
            return ResponseStream(buffer)
        } catch {
            buffer.cancel()
            throw error
        }
    }
}
