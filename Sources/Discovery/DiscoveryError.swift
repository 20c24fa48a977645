/// Why something about discovery did not work.
public struct DiscoveryError: Error, Sendable, CustomStringConvertible {
    /// What happened.
    public enum Code: String, Sendable, Hashable, CaseIterable {
        /// A record cannot be read.
        case invalidRecord
        /// The store cannot be reached, read or written.
        case storeUnavailable
        /// The configuration names no usable store.
        case invalidConfiguration
    }

    /// What happened.
    public var code: Code
    /// What, where and why, in words for the person who reads the log.
    public var message: String
    /// The underlying error, if any.
    public var cause: (any Error)?

    /// Creates an error.
    public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    /// Message, code and cause.
    public var description: String {
        if let cause { "\(self.message): \(cause)" } else { self.message }
    }
}
