public import NIOCore

/// A request on its way to an instance.
public struct OutgoingRequest: Sendable {
    /// The request's id; appears in the logs of both sides and must be unique among those in flight.
    public var id: String
    /// Plane-level headers, for example `traceparent`.
    ///
    /// The transport adds its own.
    public var headers: [String: String]
    /// The body: JSON of the endpoint's own request type.
    public var payload: ByteBuffer

    /// Creates a request.
    public init(id: String, headers: [String: String] = [:], payload: ByteBuffer) {
        self.id = id
        self.headers = headers
        self.payload = payload
    }
}

/// Sends requests to instances over one or more request planes.
///
/// An application does not change when the plane does: the transport is chosen from the instance's address.
public protocol RequestPlaneClient: Sendable {
    /// Sends a request and returns its answer as soon as the worker has accepted it (the prologue has arrived).
    ///
    /// The returned stream pulls: items that nobody asks for stay in the worker (back-pressure). Dropping the stream, or
    /// cancelling the task that reads it, cancels the generation in the worker.
    ///
    /// - Parameters:
    ///   - request: what to send.
    ///   - instance: where to send it.
    /// - Returns: the items of the answer, in order.
    /// - Throws: `RequestPlaneError` when the request was refused, not delivered, not answered in time, or cancelled.
    func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream
}
