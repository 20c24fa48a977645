/// Decides which files of a bucket must be read, count as published, or are left over; does no I/O itself.
///
/// A file counts as published while its owner touches it. It is deleted only after it was also *seen* unchanged for the
/// lifetime of a lease: a jump of the wall clock makes every file look old for a moment.
struct FileBucketView: Sendable {
    private struct File: Sendable {
        var entry: FileStore.Entry
        /// When this time of modification was first seen, on the monotonic clock.
        var firstSeen: ContinuousClock.Instant
        var record: DiscoveryRecord?
        var isStale: Bool
    }

    /// What to do after a listing.
    struct Actions: Sendable, Equatable {
        var read: [String] = []
        var delete: [String] = []
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
            var file = self.files[entry.name] ?? File(entry: entry, firstSeen: now, record: nil, isStale: false)
            let isNew = self.files[entry.name] == nil
            if isNew || file.entry.inode != entry.inode || file.entry.size != entry.size {
                actions.read.append(entry.name)
                file.record = nil
            }
            if file.entry.modified != entry.modified { file.firstSeen = now }
            file.entry = entry
            file.isStale = wallClock - entry.modified > self.timeToLive
            if file.isStale, now - file.firstSeen > self.timeToLive { actions.delete.append(entry.name) }
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
