package import Deployment
package import Logging
internal import Synchronization

/// What the generations of a deployment share: the lock that only one launcher holds, and the control socket.
package final class DeploymentHost: Sendable {
    /// Another launcher runs the deployment, or its folders cannot be made.
    package struct Unavailable: Error, Sendable, CustomStringConvertible {
        package var description: String
    }

    let lock: DeploymentLock
    /// The folders of the deployment, which those of the first generation are too.
    package let directories: DeploymentDirectories
    /// The generations that went on without a launcher, and are this one's now.
    package let orphans: [Orphans]
    private let state = Mutex(State())

    private struct State: Sendable {
        var current: Supervisor?
        var stop: (@Sendable (_ now: Bool) -> Void)?
        var isMigrating = false
        var upgrade: (@Sendable (_ binary: String) async -> String)?
    }

    private init(lock: DeploymentLock, directories: DeploymentDirectories, orphans: [Orphans]) {
        self.lock = lock
        self.orphans = orphans
        self.directories = directories
    }

    /// Takes the deployment's lock.
    ///
    /// - Parameters:
    ///   - directories: the deployment's, which are made.
    ///   - deployment: its name.
    /// - Returns: the host; ``close()`` gives the lock back.
    /// - Throws: `Unavailable` when another launcher runs the deployment.
    package static func open(
        _ directories: DeploymentDirectories,
        deployment: String
    ) async throws(Unavailable) -> DeploymentHost {
        do {
            try DirectoryMaker.make(directories.runtime)
            try DirectoryMaker.make(directories.state)
            let (lock, orphans) = try await DeploymentLock.acquire(
                directory: directories.runtime,
                deployment: deployment
            )
            return DeploymentHost(lock: lock, directories: directories, orphans: orphans)
        } catch {
            throw Unavailable(description: "\(error)")
        }
    }

    /// That the launcher before this one did not come to an end of its own, in words; nil when it did, there was none, or what it had
    /// started went on.
    package var lostLauncherWords: String? {
        guard self.orphans.isEmpty else { return nil }
        return self.lock.lostLauncher.map {
            "the launcher before this one (pid \($0)) was killed, or crashed: what it had started ended with it"
        }
    }

    /// Gives the lock back.
    package func close() { self.lock.release() }

    /// The control socket speaks of this generation from now on.
    package func setCurrent(_ generation: Supervisor) { self.state.withLock { $0.current = generation } }

    /// The generation that the control socket speaks of; nil: none was begun yet.
    var current: Supervisor? { self.state.withLock { $0.current } }

    /// From now on a wish to stop goes there, and not to the current generation alone.
    package func onStop(_ stop: @escaping @Sendable (_ now: Bool) -> Void) { self.state.withLock { $0.stop = stop } }

    /// From now on the launcher can put another program in its own place.
    ///
    /// - Parameter upgrade: does so, or returns why it was not done.
    package func onUpgrade(_ upgrade: @escaping @Sendable (_ binary: String) async -> String) {
        self.state.withLock { $0.upgrade = upgrade }
    }

    /// Puts another program in the place of this launcher; returns only when it does not, with the reason.
    func upgrade(to binary: String) async -> String {
        guard let upgrade = self.state.withLock({ $0.upgrade }) else { return "this launcher cannot be upgraded" }
        return await upgrade(binary)
    }

    /// While a migration is under way nothing else changes what runs.
    package func setMigrating(_ isMigrating: Bool) { self.state.withLock { $0.isMigrating = isMigrating } }

    /// Why processes cannot be changed now; nil: they can.
    var refusal: RolloutRefusal? { self.state.withLock { $0.isMigrating } ? .migrating : nil }

    func requestStop(now: Bool) {
        let (stop, current) = self.state.withLock { ($0.stop, $0.current) }
        if let stop { stop(now) } else { current?.requestStop(now: now) }
    }

    /// Runs a body while commands are answered on the control socket.
    ///
    /// - Parameters:
    ///   - migrations: moves the deployment from one generation to the next; nil: it has only one.
    ///   - metrics: what the launcher says about itself in the text format of Prometheus.
    ///   - logger: for what people should know of the control socket.
    ///   - warn: gets why the socket cannot be served; the deployment runs nevertheless.
    ///   - body: what is run.
    /// - Returns: what the body returns.
    package func serving<Value: Sendable>(
        migrations: (any MigrationControl)? = nil,
        metrics: @escaping @Sendable (DeploymentStatus) async -> String,
        logger: Logger,
        warn: @escaping @Sendable (String) -> Void,
        _ body: () async -> Value
    ) async -> Value {
        let control = ControlServer(host: self, migrations: migrations, metrics: metrics, logger: logger)
        return await withDiscardingTaskGroup { group in
            // Nobody is told that it is ready before commands are answered.
            let (served, serving) = AsyncStream.makeStream(of: Void.self)
            group.addTask {
                let trouble = await control.run { serving.finish() }
                serving.finish()
                if let trouble { warn(trouble) }
            }
            for await _ in served {}
            let value = await body()
            await control.shutDown()
            return value
        }
    }
}
