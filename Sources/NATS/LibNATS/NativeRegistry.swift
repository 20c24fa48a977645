import Synchronization

/// Who hears of a connection's callbacks.
///
/// libnats is given a number where C expects a pointer, never the address of a Swift object: its callbacks come on several
/// threads, some of them after the connection was closed, and a number that is no longer known is simply ignored. So no
/// callback can outlive what it would touch.
final class NativeRegistry: Sendable {
    static let shared = NativeRegistry()

    private let entries = Mutex<(next: UInt, byNumber: [UInt: any NativeEvents])>((1, [:]))

    /// Makes a connection known, until it is removed.
    func add(_ events: any NativeEvents) -> UInt {
        self.entries.withLock { entries in
            let number = entries.next
            entries.next += 1
            entries.byNumber[number] = events
            return number
        }
    }

    func remove(_ number: UInt) {
        // The object is released outside of the lock: its end may do anything.
        _ = self.entries.withLock { $0.byNumber.removeValue(forKey: number) }
    }

    /// Connections that are known, for tests that look for leaks.
    var count: Int { self.entries.withLock { $0.byNumber.count } }

    /// The receiver of a callback whose closure pointer is a number.
    static func events(_ closure: UnsafeMutableRawPointer?) -> (any NativeEvents)? {
        guard let closure else { return nil }
        return self.shared.entries.withLock { $0.byNumber[UInt(bitPattern: closure)] }
    }
}
