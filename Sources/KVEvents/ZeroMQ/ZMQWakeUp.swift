import Glibc

/// A pipe that ends the wait of a socket thread from another thread.
final class ZMQWakeUp: Sendable {
    let readEnd: Int32
    private let writeEnd: Int32

    /// - Throws: `ZMQError` when the process has no descriptor left.
    init() throws(ZMQError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw ZMQError(
                .exhausted,
                "cannot make a pipe for ZeroMQ (error \(errno)); raise the limit of open files (ulimit -n)"
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

    func signal() {
        var byte: UInt8 = 1
        // A full pipe wakes just as well.
        _ = write(self.writeEnd, &byte, 1)
    }

    func clear() {
        var bytes: (UInt64, UInt64) = (0, 0)
        while read(self.readEnd, &bytes, MemoryLayout.size(ofValue: bytes)) > 0 {}
    }
}
