/// Why a request did not succeed.
///
/// One error for the whole library; the code says what the caller can do.
public struct RequestPlaneError: Error, Sendable, CustomStringConvertible {
    /// What happened.
    public var code: Code
    /// What, where and why, in words for the person who reads the log.
    public var message: String
    /// The underlying error, if any.
    public var cause: (any Error)?

    /// What happened.
    public enum Code: String, Hashable, Sendable, CaseIterable {
        /// The instance does not serve this endpoint.
        case unknownEndpoint
        /// Discovery knows no instance of the endpoint.
        case noInstance
        /// The instance could not be reached; another one may be.
        case connectFailed
        /// No acknowledgement or no call-home in time.
        case timedOut
        /// The request is larger than the plane allows.
        case tooLarge
        /// The instance is at capacity; try another one or later.
        case overloaded
        /// The instance is shutting down; try another one.
        case unavailable
        /// The caller cancelled.
        case cancelled
        /// The worker went away before the final frame.
        case streamEndedEarly
        /// The handler refused or failed; see the message.
        case remote
        /// The peer broke the protocol.
        case protocolViolation
        /// The configuration does not allow what was asked.
        case invalidConfiguration
    }

    /// Creates an error.
    public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    /// Message, code and cause.
    public var description: String {
        if let cause {
            "\(self.message) (\(self.code.rawValue)): \(cause)"
        } else {
            "\(self.message) (\(self.code.rawValue))"
        }
    }
}
