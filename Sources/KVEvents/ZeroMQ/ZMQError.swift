/// Why something about ZeroMQ did not work.
///
/// The message says which endpoint, what happened, why, and what to do about it.
package struct ZMQError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable, CaseIterable {
        /// The endpoint or an option of the socket is not valid.
        case invalidArgument
        /// Somebody else is bound to the address.
        case addressInUse
        /// The address cannot be bound to on this machine.
        case addressNotAvailable
        /// The system has no descriptor, thread or memory left.
        case exhausted
        /// More waits to be sent than the socket is allowed to hold.
        case overloaded
        /// The socket or its thread is closed.
        case closed
        /// The library failed.
        case internalFailure
    }

    package var code: Code
    /// Where; empty when the error is not about an endpoint.
    package var endpoint: String
    /// What, where, why and what to do, in words for the person who reads the log.
    package var message: String

    package init(_ code: Code, endpoint: String = "", _ message: String) {
        self.code = code
        self.endpoint = endpoint
        self.message = message
    }

    package var description: String { "\(self.message) (\(self.code.rawValue))" }
}
