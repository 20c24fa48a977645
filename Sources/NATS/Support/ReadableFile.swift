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

    /// The whole of a small file.
    ///
    /// - Throws: `NATSError` when it cannot be read or has more than a mebibyte.
    static func contents(_ path: String, _ purpose: String) throws(NATSError) -> [UInt8] {
        try self.check(path, purpose)
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        defer { if descriptor >= 0 { close(descriptor) } }
        var bytes: [UInt8] = []
        while descriptor >= 0, bytes.count <= 1 << 20 {
            var failure: Int32 = 0
            let piece = [UInt8](unsafeUninitializedCapacity: 16384) { buffer, count in
                let size = read(descriptor, buffer.baseAddress, buffer.count)
                if size < 0 { failure = errno }
                count = max(0, size)
            }
            if failure == EINTR { continue }
            if failure == 0, piece.isEmpty { return bytes }
            if failure != 0 { break }
            bytes += piece
        }
        throw NATSError(
            .invalidConfiguration,
            "cannot read the file '\(path)' with the \(purpose): it went away, or is larger than 1 MiB; correct the path"
        )
    }
}
