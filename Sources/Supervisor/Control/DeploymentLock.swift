internal import Glibc
internal import Synchronization

/// Makes sure that only one launcher runs a deployment.
///
/// The lock is shared with the keepers, so that it is held until everything of a launcher that was killed has ended.
final class DeploymentLock: Sendable {
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    /// What a killed launcher leaves behind is ended within this time.
    static let patience: Duration = .seconds(8)

    let descriptor: Int32
    private let isHeld = Mutex(true)

    private init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { self.release() }

    /// Takes the lock.
    ///
    /// - Parameters:
    ///   - directory: the deployment's runtime folder.
    ///   - deployment: its name, for messages.
    /// - Returns: the lock, held.
    /// - Throws: `Failure` when another launcher holds it, with its pid.
    static func acquire(directory: String, deployment: String) async throws -> DeploymentLock {
        let path = "\(directory)/lock"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Failure(description: "cannot open \(path): \(errorText(errno))") }
        let deadline = ContinuousClock.now + Self.patience
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            let holder = Self.holder(path: path)
            let isAlive = holder.flatMap { ProcessTable.entry(of: $0) }.map { !$0.isZombie } ?? false
            // A dead holder's keeper still ends what was left: that takes seconds.
            guard !isAlive, ContinuousClock.now < deadline, !Task.isCancelled else {
                close(descriptor)
                let who =
                    holder.map { "pid \($0)\(isAlive ? "" : ", which is gone but not its processes")" } ?? "unknown pid"
                throw Failure(
                    description: "deployment '\(deployment)' is already running (launcher \(who)); "
                        + "stop it first with `dynamo-launch stop`, or give this one another name"
                )
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
        let text = Array("\(getpid())\n".utf8)
        ftruncate(descriptor, 0)
        pwrite(descriptor, text, text.count, 0)
        return DeploymentLock(descriptor: descriptor)
    }

    /// The launcher that wrote its pid into the lock's file; it may be gone.
    static func holder(path: String) -> Int32? {
        ProcessTable.read(path).flatMap { Int32(String(decoding: $0, as: UTF8.self).trimmed) }
    }

    /// Whether nobody holds the lock; it is not taken.
    static func isFree(path: String) -> Bool {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return true }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_SH | LOCK_NB) == 0
    }

    /// Gives the lock up.
    ///
    /// The file stays: removing it would let two launchers hold locks on two files of one name.
    func release() {
        let wasHeld = self.isHeld.withLock { isHeld in
            defer { isHeld = false }
            return isHeld
        }
        guard wasHeld else { return }
        ftruncate(self.descriptor, 0)
        close(self.descriptor)
    }
}
