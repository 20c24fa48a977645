public import NIOCore

/// A request as its handler sees it.
public struct IncomingRequest: Sendable {
    /// The caller's id of the request.
    public var id: String
    /// The endpoint that was called.
    public var endpoint: EndpointID
    /// Plane-level headers, for example `traceparent`.
    public var headers: [String: String]
    /// The body: JSON of the endpoint's own request type.
    public var payload: ByteBuffer

    /// Creates a request.
    public init(id: String, endpoint: EndpointID, headers: [String: String] = [:], payload: ByteBuffer) {
        self.id = id
        self.endpoint = endpoint
        self.headers = headers
        self.payload = payload
    }
}

/// Answers requests of one endpoint.
///
/// The function returns a sequence of items as soon as it has accepted the request; what it throws before reaches the caller as
/// a refusal (error prologue). The sequence is pulled one item at a time, as fast as the caller reads. When the caller cancels
/// or goes away, the task that runs the handler and pulls the sequence is cancelled.
///
/// A refusal says something about the instance, not about the request: callers of Dynamo 1.2 leave an instance that refused out of
/// their routing for a while. What is wrong with the request itself is better told as a `ResponseItem.failure`.
public typealias RequestHandler =
    @Sendable (IncomingRequest) async throws -> any AsyncSequence<ResponseItem, any Error> & Sendable

/// Serves endpoints on one request plane.
public protocol RequestPlaneServer: Sendable {
    /// The plane that this server speaks.
    var mode: RequestPlaneMode { get }

    /// Starts to serve an endpoint.
    ///
    /// The server listens before this returns, so the returned address may be published at once.
    ///
    /// - Parameters:
    ///   - endpoint: its name.
    ///   - id: the instance that serves it.
    ///   - handler: answers the requests.
    /// - Returns: the address to publish in discovery.
    /// - Throws: `RequestPlaneError` when the server cannot listen or already serves this endpoint.
    func register(
        _ endpoint: EndpointID,
        id: InstanceID,
        handler: @escaping RequestHandler
    ) async throws(RequestPlaneError) -> TransportAddress

    /// Stops to take requests for an endpoint; running ones go on.
    func unregister(_ endpoint: EndpointID) async

    /// Serves until cancelled or drained; owns every task of the server. Call once.
    ///
    /// - Throws: `RequestPlaneError` when the listener fails.
    func run() async throws

    /// Refuses new requests, lets running ones finish, then makes `run()` return. Returns when drained or when the deadline
    /// has passed; what still runs then is cancelled.
    ///
    /// - Parameter deadline: how long running requests may take.
    func drain(deadline: Duration) async

    /// Requests being answered now.
    var inFlight: Int { get }
}
