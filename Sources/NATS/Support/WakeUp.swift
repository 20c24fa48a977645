import Glibc

/// A pipe that ends a `poll` from another thread.
package final class WakeUp: Sendable {
    package let readEnd: Int32
    private let writeEnd: Int32

    /// - Throws: `NATSError` when the process has no descriptor left.
    package init() throws(NATSError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw NATSError(
                .internalFailure,
                "cannot make a pipe that wakes a thread: \(SystemError.text(errno)); raise the limit of open files (ulimit -n)"
            )
        }
        (self.readEnd, self.writeEnd) = (ends[0], ends[1])
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
    }

    deinit {
        close(self.readEnd)
        close(self.writeEnd)
    }

    /// Ends the wait, or the next one.
    package func signal() {
        var byte: UInt8 = 1
        // A full pipe wakes just as well.
        _ = write(self.writeEnd, &byte, 1)
    }

    /// Forgets all signals so far.
    package func clear() {
        var bytes: (UInt64, UInt64) = (0, 0)
        while read(self.readEnd, &bytes, MemoryLayout.size(ofValue: bytes)) > 0 {}
    }
}
