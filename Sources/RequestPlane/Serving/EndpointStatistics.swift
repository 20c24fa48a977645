/// What a server has counted for one endpoint: a snapshot.
public struct EndpointStatistics: Hashable, Sendable {
    /// The endpoint.
    public var endpoint: EndpointID
    /// The instance that serves it.
    public var instance: InstanceID
    /// Requests that were dispatched to the handler or failed before it.
    public var requests: Int
    /// Requests being answered now.
    public var inFlight: Int
    /// Bytes of request bodies.
    public var requestBytes: Int
    /// Bytes of item payloads.
    public var responseBytes: Int
    /// Items that were sent.
    public var items: Int
    /// Requests that the handler refused or failed, or that could not be answered, by reason.
    public var errorsByKind: [ErrorKind: Int]
    /// Requests that the caller stopped, killed or abandoned.
    public var cancellations: Int
    /// Time spent on requests that have ended, in seconds.
    public var durationSum: Double
    /// For each bound of `durationBounds`, how many requests have ended within it; a last element counts all.
    public var durationBuckets: [Int]

    /// All errors together.
    public var errors: Int { self.errorsByKind.values.reduce(0, +) }

    /// Why a request has failed, by the names of Dynamo's `error_type`.
    public enum ErrorKind: String, Hashable, Sendable, CaseIterable {
        /// The request could not be read.
        case deserialization
        /// The handler refused it or failed.
        case generate
        /// The caller could not be called home.
        case responseStream = "response_stream"
    }

    /// The upper bounds of the duration buckets, in seconds; those of Dynamo 1.2.1.
    public static let durationBounds: [Double] = [
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600,
    ]
}
