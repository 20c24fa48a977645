internal import Glibc
internal import Synchronization

/// Makes sure that only one launcher runs a deployment.
///
/// There are two locks. The one is shared with the keepers, so that it is held until everything of a launcher that was killed has
/// ended. The other one is held by launchers alone: who has it, and finds the first one held, may take over what the keepers keep.
final class DeploymentLock: Sendable {
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    /// What a killed launcher leaves behind is ended within this time.
    static let patience: Duration = .seconds(8)

    let descriptor: Int32
    /// The launcher that had the lock before and did not give it up: it was killed, or crashed.
    let lostLauncher: Int32?
    /// The lock of launchers alone.
    private let own: Int32
    private let isHeld = Mutex(true)

    private init(descriptor: Int32, own: Int32, lostLauncher: Int32?) {
        self.descriptor = descriptor
        self.own = own
        self.lostLauncher = lostLauncher
    }

    deinit { self.release() }

    /// Takes the lock.
    ///
    /// - Parameters:
    ///   - directory: the deployment's runtime folder.
    ///   - deployment: its name, for messages.
    /// - Returns: the lock, held, and the generations that go on without a launcher.
    /// - Throws: `Failure` when another launcher holds it, with its pid.
    static func acquire(
        directory: String,
        deployment: String
    ) async throws -> (lock: DeploymentLock, orphans: [Orphans]) {
        let path = "\(directory)/lock"
        let descriptor = try Self.open(path)
        var own: Int32 = -1
        do { own = try Self.open(Self.launchersPath(path)) } catch {
            close(descriptor)
            throw error
        }
        let start = ContinuousClock.now
        var isFirst = false
        while true {
            if !isFirst { isFirst = flock(own, LOCK_EX | LOCK_NB) == 0 }
            if isFirst {
                if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { break }
                do {
                    let orphans = try Self.orphans(under: directory)
                    if let first = orphans.first {
                        // The same lock as the keepers', not another one on the same file.
                        let shared = fcntl(first.lock, F_DUPFD_CLOEXEC, 0)
                        guard shared >= 0 else {
                            throw Failure(description: "cannot keep \(path): \(errorText(errno))")
                        }
                        close(descriptor)
                        return (Self.held(shared, own, path: path), orphans)
                    }
                    // A public port with nothing behind it is of no use.
                    _ = KeeperVisit.finish(KeeperVisit.portDoor(under: directory))
                } catch {
                    close(descriptor)
                    close(own)
                    throw error
                }
            }
            let holder = Self.holder(path: path)
            let isAlive = holder.flatMap { ProcessTable.entry(of: $0) }.map { !$0.isZombie } ?? false
            // A dead holder's keeper still ends what was left: that takes seconds. A program that has just taken this one's place
            // has its number, and somebody may be looking at the lock.
            let mayWait = !isAlive || (holder == getpid() && ContinuousClock.now < start + .seconds(1))
            guard mayWait, ContinuousClock.now < start + Self.patience, !Task.isCancelled else {
                close(descriptor)
                close(own)
                let who =
                    holder.map { "pid \($0)\(isAlive ? "" : ", which is gone but not its processes")" } ?? "unknown pid"
                throw Failure(
                    description: "deployment '\(deployment)' is already running (launcher \(who)); "
                        + "stop it first with `dynamo-launch stop`, or give this one another name"
                )
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
        return (Self.held(descriptor, own, path: path), [])
    }

    private static func open(_ path: String) throws(Failure) -> Int32 {
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Failure(description: "cannot open \(path): \(errorText(errno))") }
        return descriptor
    }

    private static func held(_ descriptor: Int32, _ own: Int32, path: String) -> DeploymentLock {
        // After an upgrade it is this process itself.
        let last = Self.holder(path: path).flatMap { $0 == getpid() ? nil : $0 }
        let text = Array("\(getpid())\n".utf8)
        ftruncate(descriptor, 0)
        pwrite(descriptor, text, text.count, 0)
        return DeploymentLock(descriptor: descriptor, own: own, lostLauncher: last)
    }

    /// What the keepers keep that have lost their launcher.
    private static func orphans(under directory: String) throws(Orphans.Failure) -> [Orphans] {
        var orphans: [Orphans] = []
        for (_, door) in KeeperVisit.doors(under: directory) {
            if let found = try Orphans.find(behind: door) { orphans.append(found) }
        }
        return orphans
    }

    private static func launchersPath(_ path: String) -> String { "\(path).launcher" }

    /// The launcher that wrote its pid into the lock's file; it may be gone.
    static func holder(path: String) -> Int32? {
        ProcessTable.read(path).flatMap { Int32(String(decoding: $0, as: UTF8.self).trimmed) }
    }

    /// Whether nobody holds the lock; it is not taken.
    ///
    /// One that may not be looked at may be held.
    static func isFree(path: String) -> Bool {
        let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return errno == ENOENT || errno == ENOTDIR }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_SH | LOCK_NB) == 0
    }

    /// Whether there is no launcher, as far as the lock of launchers alone says.
    static func hasNoLauncher(path: String) -> Bool { Self.isFree(path: Self.launchersPath(path)) }

    /// Gives the lock up.
    ///
    /// The files stay: removing them would let two launchers hold locks on two files of one name.
    func release() {
        let wasHeld = self.isHeld.withLock { isHeld in
            defer { isHeld = false }
            return isHeld
        }
        guard wasHeld else { return }
        ftruncate(self.descriptor, 0)
        close(self.descriptor)
        close(self.own)
    }
}
