public import NIOCore

/// One element of an answer.
public enum ResponseItem: Sendable, Hashable {
    /// The payload: JSON of the endpoint's own response type.
    ///
    /// An empty one is read as `null`.
    case data(ByteBuffer)
    /// A payload that is not wrapped like the others; a JSON object.
    ///
    /// Some endpoints between the processes of a deployment answer so, for example the one that routers ask for KV events
    /// (`kv-events.md` 3).
    case bare(ByteBuffer)
    /// An annotation beside the data: a named event with comments.
    case annotation(event: String, comments: [String])
    /// The handler failed after its stream had begun. In practice nothing follows.
    case failure(RemoteError)
}

/// An error that the other side reported.
///
/// Source: `request-plane.md` 5.5.
public struct RemoteError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of the error, a name that the oldest supported caller knows.
    public var kind: Kind
    /// What the other side said.
    public var message: String

    /// The kinds that every Dynamo release understands; others are read as `unknown`.
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        case unknown = "Unknown"
        case invalidArgument = "InvalidArgument"
        case cannotConnect = "CannotConnect"
        case disconnected = "Disconnected"
        case connectionTimeout = "ConnectionTimeout"
        case responseTimeout = "ResponseTimeout"
        case cancelled = "Cancelled"
        case resourceExhausted = "ResourceExhausted"
        case unavailable = "Unavailable"
    }

    /// Creates an error.
    public init(kind: Kind, message: String) {
        self.kind = kind
        self.message = message
    }

    /// Kind and message.
    public var description: String { "\(self.kind.rawValue): \(self.message)" }
}
