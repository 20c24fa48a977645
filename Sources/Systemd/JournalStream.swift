internal import Glibc

/// Whether a stream of this process leads to the journal (`JOURNAL_STREAM` in `systemd.exec(5)`).
package enum JournalStream {
    /// Compares a descriptor with the variable, which names a device and an inode: streams may have been led elsewhere since.
    ///
    /// - Parameters:
    ///   - descriptor: of the stream.
    ///   - variable: the value of `JOURNAL_STREAM`.
    /// - Returns: whether it does.
    package static func isConnected(_ descriptor: Int32, variable: String?) -> Bool {
        guard let variable else { return false }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return false }
        return variable == "\(status.st_dev):\(status.st_ino)"
    }
}
