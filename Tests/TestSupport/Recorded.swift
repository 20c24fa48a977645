import Synchronization

/// A value that a task writes and a test reads.
package final class Recorded<Value: Sendable>: Sendable {
    private let storage: Mutex<Value>

    package init(_ value: Value) { self.storage = Mutex(value) }

    package var value: Value {
        get { self.storage.withLock { $0 } }
        set { self.storage.withLock { $0 = newValue } }
    }

    /// Changes it in one step, when several tasks write.
    package func update(_ change: (inout Value) -> Void) { self.storage.withLock { change(&$0) } }
}
