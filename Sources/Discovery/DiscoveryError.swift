/// Why something about discovery did not work.
package struct DiscoveryError: Error, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable, CaseIterable {
        /// A record cannot be read.
        case invalidRecord
        /// The store cannot be reached, read or written.
        case storeUnavailable
        /// The configuration names no usable store.
        case invalidConfiguration
    }

    package var code: Code
    /// What, where and why, in words for the person who reads the log.
    package var message: String
    package var cause: (any Error)?

    package init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    package var description: String {
        if let cause { "\(self.message): \(cause)" } else { self.message }
    }
}
