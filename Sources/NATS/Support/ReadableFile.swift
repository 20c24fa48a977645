import Glibc

/// Finds out before the C library does whether a file can be read, because the library says less about it.
enum ReadableFile {
    /// - Parameters:
    ///   - path: the file; nil is fine.
    ///   - purpose: what it is for, for the message.
    /// - Throws: `NATSError` when the file cannot be read.
    static func check(_ path: String?, _ purpose: String) throws(NATSError) {
        guard let path else { return }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw NATSError(
                .invalidConfiguration,
                "cannot read the file '\(path)' with the \(purpose): \(SystemError.text(errno)); correct the path"
            )
        }
        defer { close(descriptor) }
        var byte: UInt8 = 0
        guard read(descriptor, &byte, 1) == 1 else {
            throw NATSError(
                .invalidConfiguration,
                "the file '\(path)' with the \(purpose) is empty or no file; correct the path"
            )
        }
    }
}
