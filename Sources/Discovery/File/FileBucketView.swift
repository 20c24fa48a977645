/// Decides which files of a bucket must be read, count as published, or are left over; does no I/O itself.
///
/// A file counts as published while its owner touches it. Its age is looked at only when a touch is first seen; from then on
/// the monotonic clock runs, so that a jump of the wall clock takes nobody off the list, and a time of modification in the future
/// keeps nobody on it. A file is deleted only after it was also *seen* unchanged for the lifetime of a lease.
struct FileBucketView: Sendable {
    private struct File: Sendable {
        var entry: FileStore.Entry
        /// When this time of modification was first seen, on the monotonic clock.
        var firstSeen: ContinuousClock.Instant
        /// When its owner counts as gone, unless it is touched before.
        var expires: ContinuousClock.Instant
        var record: DiscoveryRecord?
        var isStale: Bool
    }

    /// What to do after a listing.
    struct Actions: Sendable, Equatable {
        var read: [String] = []
        var delete: [FileStore.Entry] = []
    }

    private var files: [String: File] = [:]
    private let timeToLive: Duration

    init(timeToLive: Duration = FileStore.timeToLive) { self.timeToLive = timeToLive }

    /// Takes a listing of the directory.
    ///
    /// - Parameters:
    ///   - entries: the whole content of the directory.
    ///   - wallClock: time since the epoch, by the clock that modification times are written with.
    ///   - now: the monotonic time.
    /// - Returns: what to read and to delete.
    mutating func listed(
        _ entries: [FileStore.Entry],
        wallClock: Duration,
        now: ContinuousClock.Instant
    ) -> Actions {
        var actions = Actions()
        var next: [String: File] = [:]
        for entry in entries {
            let known = self.files[entry.name]
            var file = known ?? File(entry: entry, firstSeen: now, expires: now, record: nil, isStale: false)
            if known == nil || file.entry.inode != entry.inode || file.entry.size != entry.size {
                actions.read.append(entry.name)
                file.record = nil
            }
            if known == nil || file.entry.modified != entry.modified {
                file.firstSeen = now
                let age = max(.zero, wallClock - entry.modified)
                file.expires = now + max(.zero, self.timeToLive - age)
            }
            file.entry = entry
            file.isStale = now >= file.expires
            if file.isStale, now - file.firstSeen > self.timeToLive { actions.delete.append(entry) }
            next[entry.name] = file
        }
        self.files = next
        return actions
    }

    /// Takes the record that a file holds; nil if it holds none.
    mutating func read(_ name: String, _ record: DiscoveryRecord?) { self.files[name]?.record = record }

    /// The records whose owners are alive.
    var records: [DiscoveryRecord] { self.files.values.filter { !$0.isStale }.compactMap(\.record) }
}
