/// Why something that concerns the service manager did not work.
package struct SystemdError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable {
        /// No service manager started this process: `NOTIFY_SOCKET` is not set.
        case notManaged
        /// A variable that the service manager sets has a value that it never sets.
        case badVariable
        /// A descriptor that was passed is not one to take connections from.
        case badDescriptor
        /// A name that the service manager would refuse.
        case badName
        /// The system refused; the message has its reason.
        case system
    }

    package var code: Code
    /// What failed, why, and what to change.
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}
