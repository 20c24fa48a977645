internal import CProcess
package import Deployment
internal import Glibc
internal import Synchronization

/// The processes of a generation whose launcher is gone, taken over from its keeper.
///
/// Until a supervisor takes them, they go on without a launcher again when this object goes.
package final class Orphans: Sendable {
    /// Processes that cannot be taken over.
    package struct Failure: Error, Sendable, CustomStringConvertible {
        package var description: String

        package init(description: String) { self.description = description }
    }

    /// One process, or what is left of one that has ended meanwhile.
    struct Run: Sendable {
        /// The keeper's number of it.
        var id: UInt64
        var pid: Int32
        /// Field 22 of `/proc/PID/stat`.
        var startTime: UInt64
        /// nil: it runs.
        var exit: ProcessExit?
        var note: KeptNote
        var kept: KeptReplica
        /// Reading ends and spools, in the keeper's order.
        var output: Int32
        var errors: Int32
        var outputSpool: Int32
        var errorsSpool: Int32
        /// Those that it was passed, then the one that it is heard on.
        var sockets: [Int32]

        var descriptors: [Int32] {
            [self.output, self.errors, self.outputSpool, self.errorsSpool] + self.sockets
        }
    }

    private struct State: Sendable {
        /// The connection to the keeper; -1 once it is somebody else's.
        var socket: Int32
        var runs: [Run]
    }

    let keeper: Int32
    let door: String
    /// The lock that the keeper holds.
    let lock: Int32
    /// What the deployment was when the launcher ended; its replicas are those that have a process, or had one when it ended.
    package let plan: Plan
    /// The same with all replicas that it was to have.
    package let whole: Plan
    /// When the launcher ended, in seconds since 1970.
    package let launcherEnded: Double
    /// How many processes run.
    package let running: Int
    private let state: Mutex<State>

    package var generation: Int { self.plan.generation }

    private init(
        door: String,
        lock: Int32,
        plan: Plan,
        whole: Plan,
        report: KeeperVisit.Report,
        socket: Int32,
        runs: [Run]
    ) {
        self.keeper = report.pid
        self.door = door
        self.lock = lock
        self.plan = plan
        self.whole = whole
        self.launcherEnded = report.launcherEnded
        self.running = report.running
        self.state = Mutex(State(socket: socket, runs: runs))
    }

    deinit {
        close(self.lock)
        self.state.withLock { state in
            for descriptor in state.runs.flatMap(\.descriptors) { close(descriptor) }
            if state.socket >= 0 { close(state.socket) }
        }
    }

    /// Takes over what the keeper behind a door keeps.
    ///
    /// - Parameter door: its path.
    /// - Returns: what it keeps; nil: there is no keeper.
    /// - Throws: `Failure` when there is one, and it cannot be understood; it keeps what it has then.
    static func adopt(_ door: String) throws(Failure) -> Orphans? {
        var socket: Int32 = -1
        guard dynamo_keeper_knock(door, KeeperVisit.patience, &socket) == 0 else {
            return try Self.nothing(behind: door)
        }
        var runs: [Run] = []
        var lock: Int32 = -1
        var isComplete = false
        defer {
            if !isComplete {
                for descriptor in runs.flatMap(\.descriptors) { close(descriptor) }
                if lock >= 0 { close(lock) }
                if socket >= 0 { close(socket) }
            }
        }
        // Another version may say things that this one would misunderstand.
        guard dynamo_keeper_ask(socket, UInt32(DYNAMO_REQUEST_LOOK), 0, 0, 0, -1) == 0,
            let look = KeeperVisit.report(socket)
        else { return try Self.nothing(behind: door) }
        guard look.version == Int32(DYNAMO_KEEPER_VERSION) else {
            throw Failure(
                description:
                    "the processes that go on (keeper pid \(look.report.pid)) were started by another version of "
                    + "dynamo-launch (\(look.version), this is \(DYNAMO_KEEPER_VERSION)), which alone can adopt them"
            )
        }
        close(socket)
        socket = -1
        guard dynamo_keeper_knock(door, KeeperVisit.patience, &socket) == 0,
            dynamo_keeper_ask(socket, UInt32(DYNAMO_REQUEST_ADOPT), 0, 0, 0, -1) == 0,
            let (report, count, _, files) = KeeperVisit.report(socket)
        else { return try Self.nothing(behind: door) }
        lock = files.first ?? -1
        var plan: Plan?
        if files.count > 1 {
            plan = KeptFile.read(Plan.self, from: files[1])
            close(files[1])
        }
        for _ in 0..<count {
            guard let run = Self.run(socket) else {
                throw Failure(
                    description: "the keeper (pid \(report.pid)) of the processes that go on cannot be understood"
                )
            }
            runs.append(run)
        }
        guard let whole = plan, lock >= 0 else {
            throw Failure(description: "the keeper (pid \(report.pid)) does not know what the processes that go on are")
        }
        // The last process of a replica is the one that counts.
        var last: [String: Run] = [:]
        for run in runs {
            if let known = last[run.kept.replica.name], known.id > run.id { continue }
            last[run.kept.replica.name] = run
        }
        for run in runs where last[run.kept.replica.name]?.id != run.id {
            for descriptor in run.descriptors { close(descriptor) }
            _ = dynamo_keeper_ask(socket, UInt32(DYNAMO_REQUEST_FORGET), run.id, 0, 0, -1)
        }
        runs = last.values.sorted { $0.id < $1.id }
        // Each process says itself what it is.
        var running = whole
        running.replicas = runs.map(\.kept.replica)
        dynamo_keeper_limit(socket, 0)
        isComplete = true
        return Orphans(door: door, lock: lock, plan: running, whole: whole, report: report, socket: socket, runs: runs)
    }

    /// A keeper that is slow is no reason to do as if there were none.
    private static func nothing(behind door: String) throws(Failure) -> Orphans? {
        var socket: Int32 = -1
        let error = dynamo_keeper_knock(door, KeeperVisit.patience, &socket)
        if socket >= 0 { close(socket) }
        if error == ENOENT || error == ECONNREFUSED { return nil }
        throw Failure(
            description:
                "the keeper of the processes that go on does not answer at \(door); nothing was changed: try again in a moment"
        )
    }

    private static func run(_ socket: Int32) -> Run? {
        guard let (report, descriptors) = KeeperVisit.receive(socket) else { return nil }
        guard report.kind == UInt32(DYNAMO_REPORT_CHILD), descriptors.count >= Int(DYNAMO_KEPT_SOCKETS),
            let kept = KeptFile.read(KeptReplica.self, from: descriptors[Int(DYNAMO_KEPT_LABEL)])
        else {
            for descriptor in descriptors { close(descriptor) }
            return nil
        }
        close(descriptors[Int(DYNAMO_KEPT_LABEL)])
        return Run(
            id: report.id,
            pid: report.pid,
            startTime: report.start_time,
            exit: report.step == 1 ? ProcessExit(waitStatus: report.status) : nil,
            note: KeptNote(rawValue: report.note),
            kept: kept,
            output: descriptors[Int(DYNAMO_KEPT_OUTPUT)],
            errors: descriptors[Int(DYNAMO_KEPT_ERRORS)],
            outputSpool: descriptors[Int(DYNAMO_KEPT_OUTPUT_SPOOL)],
            errorsSpool: descriptors[Int(DYNAMO_KEPT_ERRORS_SPOOL)],
            sockets: Array(descriptors.dropFirst(Int(DYNAMO_KEPT_SOCKETS)))
        )
    }

    /// The keeper and what it keeps, which are the caller's from now on; nil when somebody has them already.
    func take() -> (keeper: Keeper, runs: [Run])? {
        self.state.withLock { state in
            guard state.socket >= 0 else { return nil }
            defer { state = State(socket: -1, runs: []) }
            return (Keeper(adopted: state.socket, pid: self.keeper), state.runs)
        }
    }

    /// What is kept, for those who only look.
    func peek() -> [Run]? { self.state.withLock { $0.socket >= 0 ? $0.runs : nil } }

    /// Ends all of it, and waits until the keeper is gone.
    package func end() async {
        guard let (keeper, runs) = self.take() else { return }
        for descriptor in runs.flatMap(\.descriptors) { close(descriptor) }
        keeper.finish()
        while ProcessTable.entry(of: self.keeper).map({ !$0.isZombie }) ?? false {
            try? await Task.sleep(for: .milliseconds(20))
        }
        unlink(self.door)
    }
}
