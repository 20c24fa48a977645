internal import Glibc
internal import Supervisor

/// A file to which whole lines are added, each on the disk before the next.
struct JournalFile: ~Copyable {
    private let folder: String
    private let path: String
    private var descriptor: Int32
    /// So many bytes count; what lies behind them was written in part.
    private var length = 0
    private var hasRest = false
    /// Somebody had deleted it, and nobody was told yet.
    private var wasMadeAnew = false

    private init(folder: String, path: String, descriptor: Int32) {
        self.folder = folder
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(self.descriptor) }

    /// Opens a file, or makes it, for its owner alone.
    ///
    /// - Parameters:
    ///   - folder: where it is; must exist.
    ///   - name: the file's name there.
    /// - Returns: the file.
    /// - Throws: `MigrationJournalError` when it cannot be opened, or is no regular file.
    static func open(folder: String, name: String) throws(MigrationJournalError) -> JournalFile {
        let path = "\(folder)/\(name)"
        let isNew = access(path, F_OK) != 0
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Self.error(path, "cannot be opened") }
        let file = JournalFile(folder: folder, path: path, descriptor: descriptor)
        try file.checkKind()
        // A new file's name is in the folder, which needs its own way to the disk.
        if isNew { try Self.syncFolder(folder, for: path) }
        return file
    }

    /// Opens a file that is only read.
    ///
    /// - Parameter path: the file.
    /// - Returns: the file.
    /// - Throws: `MigrationJournalError` when it cannot be opened, or is no regular file.
    static func openForReading(path: String) throws(MigrationJournalError) -> JournalFile {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.error(path, "cannot be opened") }
        let file = JournalFile(folder: "", path: path, descriptor: descriptor)
        try file.checkKind()
        return file
    }

    /// All its bytes.
    ///
    /// - Throws: `MigrationJournalError` when they cannot be read.
    func read() throws(MigrationJournalError) -> [UInt8] {
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = pread(self.descriptor, &block, block.count, off_t(bytes.count))
            if count == 0 { return bytes }
            if count > 0 {
                bytes += block[..<count]
            } else if errno != EINTR {
                throw Self.error(self.path, "cannot be read")
            }
        }
    }

    /// Lets only the first bytes stand.
    ///
    /// - Parameter length: so many.
    /// - Throws: `MigrationJournalError` when the rest cannot be cut off.
    mutating func cut(to length: Int) throws(MigrationJournalError) {
        self.length = length
        var status = stat()
        guard fstat(self.descriptor, &status) == 0 else { throw Self.error(self.path, "cannot be looked at") }
        self.hasRest = Int(status.st_size) > length
        try self.cutRest()
    }

    /// Adds bytes, and waits until they are on the disk.
    ///
    /// - Parameter bytes: whole lines.
    /// - Throws: `MigrationJournalError` when that fails; nothing of them is left in the file then, or, if not even that can
    ///   be done now, before the next ones are written.
    mutating func append(_ bytes: [UInt8]) throws(MigrationJournalError) {
        if self.isDeleted { try self.makeAnew() }
        try self.cutRest()
        do throws(MigrationJournalError) {
            try Self.write(bytes, to: self.descriptor, at: self.length, path: self.path)
            guard fsync(self.descriptor) == 0 else { throw Self.error(self.path, "cannot be brought to the disk") }
        } catch {
            self.hasRest = true
            try? self.cutRest()
            throw error
        }
        self.length += bytes.count
    }

    /// Puts another content in place of this one: at each moment there is the old or the new one, whole.
    ///
    /// - Parameter bytes: whole lines.
    /// - Throws: `MigrationJournalError` when that fails; the old content stays then.
    mutating func replace(by bytes: [UInt8]) throws(MigrationJournalError) {
        let temporary = "\(self.path).new"
        let descriptor = Glibc.open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Self.error(temporary, "cannot be opened") }
        do throws(MigrationJournalError) {
            try Self.write(bytes, to: descriptor, at: 0, path: temporary)
            guard fsync(descriptor) == 0, rename(temporary, self.path) == 0 else {
                throw Self.error(temporary, "cannot be put in place")
            }
        } catch {
            unlink(temporary)
            close(descriptor)
            throw error
        }
        close(self.descriptor)
        self.descriptor = descriptor
        self.length = bytes.count
        self.hasRest = false
        try Self.syncFolder(self.folder, for: self.path)
    }

    /// Whether it was made anew since the last call, because somebody had deleted it.
    mutating func takeWasMadeAnew() -> Bool {
        defer { self.wasMadeAnew = false }
        return self.wasMadeAnew
    }

    private var isDeleted: Bool {
        var status = stat()
        return fstat(self.descriptor, &status) == 0 && status.st_nlink == 0
    }

    /// The content of a file without a name is there for as long as it is open.
    private mutating func makeAnew() throws(MigrationJournalError) {
        let content = Array(try self.read().prefix(self.length))
        do { try DirectoryMaker.make(self.folder) } catch {
            throw MigrationJournalError(path: self.path, reason: "it was deleted, and \(error)")
        }
        try self.replace(by: content)
        self.wasMadeAnew = true
    }

    private mutating func cutRest() throws(MigrationJournalError) {
        guard self.hasRest else { return }
        guard ftruncate(self.descriptor, off_t(self.length)) == 0, fsync(self.descriptor) == 0 else {
            throw Self.error(self.path, "what was written of a record in part cannot be cut off")
        }
        self.hasRest = false
    }

    private borrowing func checkKind() throws(MigrationJournalError) {
        var status = stat()
        guard fstat(self.descriptor, &status) == 0 else { throw Self.error(self.path, "cannot be looked at") }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw MigrationJournalError(path: self.path, reason: "it is not a regular file")
        }
    }

    private static func write(
        _ bytes: [UInt8],
        to descriptor: Int32,
        at offset: Int,
        path: String
    ) throws(MigrationJournalError) {
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress, $0.count, off_t(offset + written))
            }
            if count > 0 {
                written += count
            } else if errno != EINTR {
                throw Self.error(path, "cannot be written")
            }
        }
    }

    private static func syncFolder(_ folder: String, for path: String) throws(MigrationJournalError) {
        let descriptor = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.error(path, "its folder cannot be opened") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw Self.error(path, "its folder cannot be brought to the disk") }
    }

    /// What failed, and what the system said to it.
    private static func error(_ path: String, _ what: String) -> MigrationJournalError {
        let code = errno
        let reason = "\(what): \(String(cString: strerror(code)))"
        let remedy = self.remedy(code)
        return MigrationJournalError(path: path, reason: remedy.map { "\(reason); \($0)" } ?? reason)
    }

    private static func remedy(_ code: Int32) -> String? {
        switch code {
        case ENOSPC, EDQUOT, EFBIG: "make room on its file system"
        case EROFS, EACCES, EPERM: "the file and its folder must be writable for the user who runs the launcher"
        default: nil
        }
    }
}
