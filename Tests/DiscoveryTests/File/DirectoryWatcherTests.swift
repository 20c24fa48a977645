import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Discovery

private final class Counter: Sendable {
    private let count = Mutex(0)
    var value: Int { self.count.withLock { $0 } }
    func increase() { self.count.withLock { $0 += 1 } }
}

/// Being told of changes by the system.
@Suite struct DirectoryWatcherTests {
    @Test func `long names are told after many short ones`() async throws {
        try await withTemporaryDirectory { directory in
            let store = FileStore(root: directory.path())
            let watcher = DirectoryWatcher(store: store, renewal: .seconds(60))
            let changes = Counter()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await watcher.run { changes.increase() } }
                try await eventually("the watch stands") { changes.value > 0 }
                let bucket = store.path(of: .instances)
                // A buffer that follows what was read before is at its smallest after a few of these.
                for number in 0..<40 {
                    let before = changes.value
                    #expect(mkdir("\(bucket)/\(number)", 0o700) == 0)
                    try await eventually("'\(number)' is told") { changes.value > before }
                }
                // Many at once, so that one is read while another is still looked at.
                for round in 0..<20 {
                    let before = changes.value
                    for number in 0..<50 {
                        let name = String(repeating: "n", count: 240) + "\(round)-\(number)"
                        #expect(mkdir("\(bucket)/\(name)", 0o700) == 0)
                    }
                    try await eventually("round \(round) is told") { changes.value > before }
                }
                group.cancelAll()
            }
        }
    }
}
