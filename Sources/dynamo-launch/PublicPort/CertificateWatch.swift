import Gateway
import Glibc
import Logging

/// Has certificates read again when their files were replaced.
///
/// Asking the system every two seconds is enough for what changes every few weeks, and works with everything that replaces files:
/// renames, symbolic links that are exchanged, and file systems that report no changes.
struct CertificateWatch: Sendable {
    private static let period = Duration.seconds(2)

    private let files: [String]
    private let gateway: Gateway
    private let logger: Logger
    /// As the files were before the gateway read them.
    private let first: [FileState]

    init(files: [String], gateway: Gateway, logger: Logger) {
        self.files = files
        self.gateway = gateway
        self.logger = logger
        self.first = files.map(FileState.init(path:))
    }

    /// Looks until the task is cancelled.
    func run() async {
        var changes = FileChanges(self.first)
        while true {
            do { try await Task.sleep(for: Self.period) } catch { return }
            guard changes.looked(self.files.map(FileState.init(path:))) else { continue }
            do throws(GatewayError) {
                try self.gateway.reloadCertificates()
                self.logger.notice("the certificate was read again")
            } catch {
                self.logger.warning("the certificate stays as it was: \(error.reason); \(error.remedy)")
            }
        }
    }
}

/// When files that belong together have been replaced, and by something that is complete.
struct FileChanges: Sendable {
    /// What was taken last, or found wrong.
    private var taken: [FileState]
    private var seen: [FileState]

    init(_ states: [FileState]) {
        (self.taken, self.seen) = (states, states)
    }

    /// Takes in how the files are now.
    ///
    /// - Parameter states: the files, always in the same order.
    /// - Returns: whether they are to be read: they differ from what was read last, and nobody has touched them since the last look.
    mutating func looked(_ states: [FileState]) -> Bool {
        defer { self.seen = states }
        guard states != self.taken, states == self.seen else { return false }
        self.taken = states
        return true
    }
}

/// What changes when a file is written or replaced.
struct FileState: Sendable, Hashable {
    private var device: UInt = 0
    private var inode: UInt = 0
    private var size = 0
    private var modified: [Int] = []

    /// Asks for a file; one that is not there is equal to others that are not there.
    init(path: String) {
        var information = stat()
        guard stat(path, &information) == 0 else { return }
        self.device = UInt(information.st_dev)
        self.inode = UInt(information.st_ino)
        self.size = Int(information.st_size)
        self.modified = [
            information.st_mtim.tv_sec, information.st_mtim.tv_nsec, information.st_ctim.tv_sec,
            information.st_ctim.tv_nsec,
        ]
    }
}
