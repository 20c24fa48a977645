import NIOCore
import Synchronization

/// Lets a message through once in a while, so that a peer cannot fill the log.
final class LogLimit: Sendable {
    private let next = Mutex(NIODeadline.uptimeNanoseconds(0))
    private let interval: TimeAmount

    init(once interval: TimeAmount = .seconds(10)) { self.interval = interval }

    /// Whether to log now.
    func allows() -> Bool {
        let now = NIODeadline.now()
        return self.next.withLock { next in
            guard next <= now else { return false }
            next = now + self.interval
            return true
        }
    }
}
