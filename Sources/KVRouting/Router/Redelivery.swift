package import RequestPlane

/// Whether a request that no instance has begun goes to another one.
///
/// The record of a process that was killed stays in discovery until its lease has run out, so several in a row may be dead.
package struct Redelivery: Sendable {
    /// So many instances are tried at the most: who connects to a host that does not answer waits for a while each time.
    package static let limit = 4

    private var attempts = 0
    private var wasOverloaded = false

    package init() {}

    /// Whether a request provably did not begin, so that another instance may have it.
    ///
    /// - Parameter code: what went wrong.
    /// - Returns: whether nothing of it was done.
    package static func neverStarted(_ code: RequestPlaneError.Code) -> Bool {
        switch code {
        case .connectFailed, .unavailable, .overloaded, .unknownEndpoint: true
        default: false
        }
    }

    /// One attempt has failed.
    ///
    /// Of instances that are full two are asked: more of that would be a load for those that are busy already.
    ///
    /// - Parameter code: what went wrong.
    /// - Returns: whether another instance may be tried.
    package mutating func mayRepeat(after code: RequestPlaneError.Code) -> Bool {
        self.attempts += 1
        guard Self.neverStarted(code), self.attempts < Self.limit else { return false }
        guard code == .overloaded else { return true }
        defer { self.wasOverloaded = true }
        return !self.wasOverloaded
    }
}
