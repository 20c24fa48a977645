/// Why something about NATS did not work.
///
/// The message says which server, what happened, why, and what to do about it. It never holds a secret.
package struct NATSError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable, CaseIterable {
        /// A setting is wrong, or two settings contradict each other.
        case invalidConfiguration
        /// A subject, queue group or header cannot be sent.
        case invalidArgument
        /// No server could be reached.
        case connectFailed
        /// The server refused the credentials.
        case authenticationFailed
        /// The encrypted connection could not be established.
        case tlsFailed
        /// No answer within the time that was given.
        case timedOut
        /// Nobody subscribes to the subject of a request.
        case noResponders
        /// The message is larger than the server takes.
        case payloadTooLarge
        /// More is waiting to be sent than the connection is allowed to hold.
        case overloaded
        /// The server does not let this user publish or subscribe there.
        case notPermitted
        /// The server lacks what was asked for.
        case unsupported
        /// The connection was lost while waiting.
        case disconnected
        /// The connection takes no new work because it drains.
        case draining
        /// The connection is closed.
        case closed
        /// The waiting task was cancelled.
        case cancelled
        /// The system or the C library failed.
        case internalFailure
    }

    package var code: Code
    /// What, where, why and what to do, in words for the person who reads the log.
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { "\(self.message) (\(self.code.rawValue))" }
}
