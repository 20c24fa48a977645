internal import CProcess
internal import Deployment
internal import Dispatch
internal import Glibc
internal import NIOPosix
internal import Synchronization

/// A program that runs for as long as somebody needs it, under a keeper of its own.
package struct KeptProgram: Sendable {
    /// An absolute path.
    package var executable: String
    package var arguments: [String]
    /// `NAME=value`.
    package var environment: [String]
    package var directory: String
    /// They become 1, 2, 3 and so on of the program; they stay open here.
    package var descriptors: [Int32]
    private let lock: Int32
    /// Where the next launcher finds its keeper, should this one end without a word; nil: it ends with this one.
    private let door: String?

    /// - Parameters:
    ///   - executable: an absolute path.
    ///   - arguments: what follows its name.
    ///   - environment: `NAME=value`.
    ///   - directory: where it runs.
    ///   - descriptors: what it is given.
    ///   - host: whose lock is held until nothing of it is left.
    ///   - survives: whether it goes on when the launcher ends without a word.
    package init(
        _ executable: String,
        arguments: [String],
        environment: [String],
        directory: String,
        descriptors: [Int32],
        in host: DeploymentHost,
        survives: Bool
    ) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.directory = directory
        self.descriptors = descriptors
        self.lock = host.lock.descriptor
        self.door = survives ? KeeperVisit.portDoor(under: host.directories.runtime) : nil
    }

    private static let id: UInt64 = 1

    /// How it ended; nil: nobody has said so.
    private final class End: Sendable {
        let words = Mutex<String?>(nil)
    }

    /// Starts it, and runs a body beside it: whichever ends first ends the other.
    ///
    /// - Parameter body: gets its pid.
    /// - Returns: how it ended, or why it was not started, in words; nothing of it is left then.
    package func run(_ body: @escaping @Sendable (_ pid: Int32) async -> Void) async -> String {
        let keeper: Keeper
        do throws(KeeperError) { keeper = try Keeper(lock: self.lock, door: self.door) } catch { return "\(error)" }
        var request = SpawnRequest(
            id: Self.id,
            executable: self.executable,
            arguments: self.arguments,
            environment: self.environment,
            directory: self.directory,
            descriptors: self.descriptors
        )
        let nothing = open("/dev/null", O_RDONLY | O_CLOEXEC)
        defer { if nothing >= 0 { close(nothing) } }
        if self.door != nil {
            guard nothing >= 0 else { return "cannot open /dev/null: \(errorText(errno))" }
            keeper.setSurvive(true, remembering: false)
            // Nothing is kept but the process.
            request.kept = Array(repeating: nothing, count: Int(DYNAMO_KEPT_SOCKETS))
        }
        let spawn = request
        return await Self.run(under: keeper, Self.id, nil, { () throws(SpawnError) in try keeper.spawn(spawn) }, body)
    }

    /// Takes over the program that an earlier launcher has started, and runs a body beside it: whichever ends first ends the other.
    ///
    /// - Parameters:
    ///   - pid: its process.
    ///   - host: the deployment's.
    ///   - survives: whether it is to outlive this launcher too.
    ///   - body: what is run.
    /// - Returns: how it ended, in words; nil: no keeper has it, and nothing was done.
    package static func adopt(
        _ pid: Int32,
        in host: DeploymentHost,
        survives: Bool,
        _ body: @escaping @Sendable () async -> Void
    ) async -> String? {
        let door = KeeperVisit.portDoor(under: host.directories.runtime)
        let found = try? await NIOThreadPool.singleton.runIfActive { KeeperVisit.adopt(door, running: pid) }
        guard let (keeper, id) = found ?? nil else { return nil }
        keeper.setSurvive(survives, remembering: false)
        return await Self.run(under: keeper, id, pid, { () throws(SpawnError) in }, { _ in await body() })
    }

    /// Whether one goes on that an earlier launcher has started.
    package static func isOrphaned(in host: DeploymentHost) -> Bool {
        KeeperVisit.look(KeeperVisit.portDoor(under: host.directories.runtime)) != nil
    }

    private static func run(
        under keeper: Keeper,
        _ id: UInt64,
        _ pid: Int32?,
        _ begin: () throws(SpawnError) -> Void,
        _ body: @escaping @Sendable (_ pid: Int32) async -> Void
    ) async -> String {
        let end = End()
        let threads = NIOThreadPool(numberOfThreads: 1)
        threads.start()
        let (starts, sender) = AsyncStream.makeStream(of: Int32.self)
        if let pid { sender.yield(pid) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                _ = try? await threads.runIfActive {
                    keeper.receive { report in
                        switch report {
                        case .spawned(id, let pid): sender.yield(pid)
                        case .spawnFailed(_, let error):
                            end.words.withLock { $0 = error.description }
                            sender.finish()
                        case .exited(id, _, let exit):
                            end.words.withLock { $0 = exit.words }
                            sender.finish()
                        default: break
                        }
                    }
                }
                sender.finish()
            }
            do throws(SpawnError) {
                try begin()
                await Self.follow(starts, body)
            } catch {
                end.words.withLock { $0 = error.description }
            }
            keeper.finish()
        }
        try? await threads.shutdownGracefully()
        return end.words.withLock { $0 } ?? "its keeper ended"
    }

    private static func follow(_ starts: AsyncStream<Int32>, _ body: @escaping @Sendable (Int32) async -> Void) async {
        for await pid in starts {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await body(pid) }
                // Nothing more comes of it but its end.
                group.addTask { for await _ in starts {} }
                await group.next()
                group.cancelAll()
            }
            return
        }
    }
}

/// A file in memory that another process is to read.
package enum MemoryFile {
    /// - Returns: its descriptor, which is not inherited; nil when there can be none.
    package static func holding(_ bytes: [UInt8]) -> Int32? {
        let file = dynamo_memory_file()
        guard file >= 0 else { return nil }
        guard pwrite(file, bytes, bytes.count, 0) == bytes.count else {
            close(file)
            return nil
        }
        return file
    }
}

/// A process that somebody else has started.
package struct ForeignProcess: Sendable {
    package let pid: Int32
    private let startTime: UInt64

    /// Nil when there is none.
    package init?(pid: Int32) {
        guard let entry = ProcessTable.entry(of: pid), !entry.isZombie else { return nil }
        self.pid = pid
        self.startTime = entry.startTime
    }

    /// Whether it still runs.
    package var isAlive: Bool {
        guard let entry = ProcessTable.entry(of: self.pid) else { return false }
        return entry.startTime == self.startTime && !entry.isZombie
    }

    /// So much time has it for its own end, and then for one by SIGKILL.
    private static let (patience, lastPatience) = (Duration.seconds(3), Duration.seconds(2))

    /// Ends it, also when the task is cancelled; returns when it is gone.
    package func end() async {
        await withCheckedContinuation { continuation in
            // A thread that may wait.
            DispatchQueue.global().async {
                for (signal, limit) in [(SIGTERM, Self.patience), (SIGKILL, Self.lastPatience)] {
                    _ = dynamo_signal_process(self.pid, self.startTime, signal)
                    let deadline = ContinuousClock.now + limit
                    while self.isAlive, ContinuousClock.now < deadline { usleep(5000) }
                }
                continuation.resume()
            }
        }
    }
}
