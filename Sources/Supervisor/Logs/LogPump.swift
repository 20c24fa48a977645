internal import CProcess
internal import Glibc
internal import Synchronization

/// The thread that reads what the replicas write: every pipe gets at most one bounded read per turn, so a replica that floods
/// its log waits in its own pipe and starves nobody.
final class LogPump: Sendable {
    /// What the pump tells the supervisor.
    enum Event: Sendable, Equatable {
        case matched(replica: Int, run: Int, index: Int)
        /// All output of the run was read.
        case drained(replica: Int, run: Int)
        /// The run said something on its `NOTIFY_SOCKET`.
        case notified(replica: Int, run: Int, NotifyMessage)
        /// A process that is none of the run's did, for the first time.
        case strangerNotified(replica: Int, run: Int, pid: Int32)
        /// A log cannot be written (or can again: nil).
        case trouble(replica: Int, String?)
    }

    /// A run whose output is to be read.
    struct Run: Sendable {
        var replica: Int
        var run: Int
        /// nil: it was not started.
        var pid: Int32?
        var stdout: Int32
        var stderr: Int32
        /// Patterns that are waited for, with the index of their layer.
        var patterns: [(index: Int, pattern: String)]
        /// On which it says how it is.
        var notify: NotifySocket?
        /// What its processes have in `StrayFinder.marker`.
        var marker: String
        /// What is written beside the log.
        var commandFile: (path: String, content: [UInt8])?
        /// What the keeper shares of both pipes; none when nothing is to outlive the launcher.
        var spools: (stdout: LogSpool, stderr: LogSpool)?
        /// An earlier launcher has read the pipes before.
        var isAdopted = false
    }

    enum Command: Sendable {
        /// Gets the next index.
        case introduce(Replica)
        case add(Run)
        case finish(replica: Int, run: Int)
        case stop
    }

    private struct Shared: Sendable {
        var commands: [Command] = []
        var rings: [LogRing]
        var followers: [Int: (replicas: Set<Int>?, continuation: AsyncStream<LogLine>.Continuation)] = [:]
        var nextFollower = 0
        var isStopped = false
    }

    struct Replica: Sendable {
        var process: String
        var name: String
        var logFile: String
    }

    /// Those that there were at the start.
    let replicas: [Replica]
    private let sink: LogSink
    private let events: @Sendable (Event) -> Void
    private let shared: Mutex<Shared>
    /// An eventfd that interrupts the thread's wait.
    private let bell: Int32

    init(replicas: [Replica], sink: @escaping LogSink, events: @escaping @Sendable (Event) -> Void) {
        self.replicas = replicas
        self.sink = sink
        self.events = events
        self.shared = Mutex(Shared(rings: Array(repeating: LogRing(), count: replicas.count)))
        self.bell = dynamo_bell_make()
    }

    deinit {
        close(self.bell)
    }

    /// Gives the thread something to do, in order.
    func send(_ command: Command) {
        self.shared.withLock { $0.commands.append(command) }
        dynamo_bell_ring(self.bell)
    }

    /// A replica that was added while the deployment runs; it has the next index.
    func add(_ replica: Replica) {
        self.shared.withLock { $0.rings.append(LogRing()) }
        self.send(.introduce(replica))
    }

    /// How many lines a replica has written.
    func lineCount(of replica: Int) -> Int { self.shared.withLock { $0.rings[replica].total } }

    /// The lines after so many, as far as they are kept.
    func lines(of replica: Int, since count: Int) -> [String] {
        self.shared.withLock { $0.rings[replica].last($0.rings[replica].total - count) }
    }

    /// The lines from now on; a follower that does not keep up loses lines instead of slowing the replicas down.
    ///
    /// - Parameter replicas: whose; nil: of all, also of those that come.
    /// - Returns: the lines.
    func follow(_ replicas: Set<Int>?) -> AsyncStream<LogLine> {
        let (stream, continuation) = AsyncStream.makeStream(of: LogLine.self, bufferingPolicy: .bufferingNewest(4096))
        let id: Int? = self.shared.withLock { shared in
            guard !shared.isStopped else { return nil }
            shared.nextFollower += 1
            shared.followers[shared.nextFollower] = (replicas, continuation)
            return shared.nextFollower
        }
        guard let id else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            self?.shared.withLock { _ = $0.followers.removeValue(forKey: id) }
        }
        return stream
    }

    /// Reads until told to stop.
    ///
    /// Blocks its thread.
    func run() {
        var worker = LogPumpWorker(pump: self, bell: self.bell)
        worker.run()
        let followers = self.shared.withLock { shared in
            shared.isStopped = true
            return shared.followers.values.map(\.continuation)
        }
        for follower in followers { follower.finish() }
    }

    // MARK: For the worker

    func takeCommands() -> [Command] {
        self.shared.withLock { shared in
            defer { shared.commands = [] }
            return shared.commands
        }
    }

    func publish(_ lines: [LogLine], of replica: Int) {
        let followers = self.shared.withLock { shared in
            for line in lines { shared.rings[replica].append(line.text) }
            return shared.followers.values.filter { $0.replicas?.contains(replica) ?? true }.map(\.continuation)
        }
        for line in lines {
            self.sink(line)
            for follower in followers { follower.yield(line) }
        }
    }

    func tell(_ event: Event) { self.events(event) }
}
