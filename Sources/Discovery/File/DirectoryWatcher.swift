import Glibc
import Logging
import NIOCore
import NIOPosix

/// Tells when something appears in or disappears from the buckets, by inotify.
struct DirectoryWatcher: Sendable {
    private static let events = UInt32(
        IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF
    )

    /// A read that has no room for the next event fails, and a name may have 255 bytes: no buffer that adapts to what was read before.
    private static let readSize = 16 << 10

    let store: FileStore
    /// How often the directories are looked up again.
    let renewal: Duration

    /// Calls back after each change until cancelled.
    ///
    /// - Parameter onChange: called once when the watch stands, then after each batch of changes.
    /// - Throws: `DiscoveryError` when the system has no inotify instance left.
    func run(onChange: @escaping @Sendable () -> Void) async throws {
        let descriptor = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
        guard descriptor >= 0 else {
            throw DiscoveryError(.storeUnavailable, "inotify_init1: \(String(cString: strerror(errno)))")
        }
        do { try self.addWatches(descriptor) } catch {
            close(descriptor)
            throw error
        }
        let channel: NIOAsyncChannel<ByteBuffer, Never>
        do {
            channel = try await NIOPipeBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Self.readSize))
                .takingOwnershipOfDescriptor(input: descriptor) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try NIOAsyncChannel<ByteBuffer, Never>(wrappingChannelSynchronously: channel)
                    }
                }
        } catch {
            close(descriptor)
            throw error
        }
        try await channel.executeThenClose { inbound in
            onChange()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for try await _ in inbound { onChange() }
                }
                group.addTask {
                    // A bucket that was moved or deleted and made again is another directory; for a known one this does
                    // nothing.
                    while true {
                        try await Task.sleep(for: self.renewal)
                        try self.addWatches(descriptor)
                    }
                }
                defer { group.cancelAll() }
                try await group.next()
            }
        }
    }

    private func addWatches(_ descriptor: Int32) throws(DiscoveryError) {
        try self.store.createBuckets()
        for bucket in DiscoveryBucket.allCases {
            let path = self.store.path(of: bucket)
            guard inotify_add_watch(descriptor, path, Self.events) >= 0 else {
                throw DiscoveryError(
                    .storeUnavailable,
                    "inotify_add_watch \(path): \(String(cString: strerror(errno)))"
                )
            }
        }
    }
}
