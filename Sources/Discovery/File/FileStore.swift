import Glibc

/// The directory of Dynamo's file backend.
///
/// Every call blocks for as long as the file system does.
///
/// Source: `discovery.md` 2.
struct FileStore: Sendable {
    /// Files that were touched longer ago belong to a process that is gone.
    static let timeToLive: Duration = .seconds(10)
    private static let temporaryPrefix = ".tmp_"
    /// A temporary file lives for milliseconds; one that is this old has no owner.
    private static let abandonment: Duration = .seconds(60)

    /// What a listing says about a file.
    struct Entry: Sendable, Hashable {
        var name: String
        /// Changes when the file is replaced, not when it is touched.
        var inode: UInt64
        var size: Int64
        /// Time of the last touch, since the epoch.
        var modified: Duration
    }

    let root: String

    func path(of bucket: DiscoveryBucket) -> String { "\(self.root)/\(bucket.rawValue)" }

    private func path(of key: DiscoveryKey) -> String { "\(self.path(of: key.bucket))/\(key.fileName)" }

    /// Creates the directories of the buckets.
    func createBuckets() throws(DiscoveryError) {
        for bucket in DiscoveryBucket.allCases {
            let path = self.path(of: bucket)
            for end in path.indices.dropFirst() where path[end] == "/" {
                _ = mkdir(String(path[..<end]), 0o777)
            }
            guard mkdir(path, 0o777) == 0 || errno == EEXIST else { throw self.failure("cannot create \(path)") }
        }
    }

    /// The files of a bucket, none if it does not exist.
    func entries(of bucket: DiscoveryBucket) throws(DiscoveryError) -> [Entry] {
        try self.names(of: bucket).filter { !$0.hasPrefix(".") }.compactMap { self.entry($0, in: bucket) }
    }

    private func names(of bucket: DiscoveryBucket) throws(DiscoveryError) -> [String] {
        let path = self.path(of: bucket)
        guard let directory = opendir(path) else {
            if errno == ENOENT { return [] }
            throw self.failure("cannot list \(path)")
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let item = readdir(directory) {
            names.append(
                withUnsafeBytes(of: &item.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
            )
        }
        return names
    }

    /// Deletes what writers have left behind that were killed before they could rename it.
    func removeAbandonedTemporaries() {
        for bucket in DiscoveryBucket.allCases {
            for name in (try? self.names(of: bucket)) ?? [] where name.hasPrefix(Self.temporaryPrefix) {
                guard let entry = self.entry(name, in: bucket), Self.now - entry.modified > Self.abandonment
                else { continue }
                self.remove(name, in: bucket)
            }
        }
    }

    /// What the file system says about one file; nil if it is gone or no file.
    func entry(_ name: String, in bucket: DiscoveryBucket) -> Entry? {
        var status = stat()
        guard stat("\(self.path(of: bucket))/\(name)", &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            return nil
        }
        return Entry(
            name: name,
            inode: UInt64(status.st_ino),
            size: Int64(status.st_size),
            modified: .seconds(status.st_mtim.tv_sec) + .nanoseconds(status.st_mtim.tv_nsec)
        )
    }

    /// The content of a file; nil if it is gone.
    func read(_ name: String, in bucket: DiscoveryBucket) throws(DiscoveryError) -> [UInt8]? {
        let path = "\(self.path(of: bucket))/\(name)"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw self.failure("cannot open \(path)")
        }
        defer { close(descriptor) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw self.failure("cannot read \(path)")
            }
            if count == 0 { return content }
            content.append(contentsOf: chunk[..<count])
        }
    }

    /// Makes a record visible at once and whole: a watcher reads a file only when it appears.
    func write(_ content: [UInt8], to key: DiscoveryKey) throws(DiscoveryError) {
        try self.createBuckets()
        let random = UInt64.random(in: .min ... .max)
        let digits = String(random, radix: 16)
        let padding = String(repeating: "0", count: 16 - digits.utf8.count)
        let temporary = "\(self.path(of: key.bucket))/\(Self.temporaryPrefix)\(padding)\(digits)"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw self.failure("cannot create \(temporary)") }
        var written = 0
        while written < content.count {
            let count = content[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                let error = self.failure("cannot write \(temporary)")
                close(descriptor)
                unlink(temporary)
                throw error
            }
            written += count
        }
        // Some file systems notice only here that they are full.
        guard close(descriptor) == 0 else {
            let error = self.failure("cannot write \(temporary)")
            unlink(temporary)
            throw error
        }
        guard rename(temporary, self.path(of: key)) == 0 else {
            let error = self.failure("cannot rename \(temporary) to \(self.path(of: key))")
            unlink(temporary)
            throw error
        }
    }

    /// Renews the lease of a record.
    ///
    /// - Returns: false if the file is gone.
    func touch(_ key: DiscoveryKey) -> Bool { utimensat(AT_FDCWD, self.path(of: key), nil, 0) == 0 }

    /// Deletes a record, if it is there.
    func remove(_ key: DiscoveryKey) throws(DiscoveryError) {
        let path = self.path(of: key)
        guard unlink(path) == 0 || errno == ENOENT else { throw self.failure("cannot delete \(path)") }
    }

    func remove(_ name: String, in bucket: DiscoveryBucket) { unlink("\(self.path(of: bucket))/\(name)") }

    /// The clock that modification times are written with.
    static var now: Duration {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    private func failure(_ what: String) -> DiscoveryError {
        DiscoveryError(.storeUnavailable, "\(what): \(String(cString: strerror(errno)))")
    }
}
