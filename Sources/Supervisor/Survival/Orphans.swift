internal import CProcess
package import Deployment
internal import Glibc
internal import Synchronization

/// The processes of a generation whose launcher is gone, as its keeper has them.
///
/// They go on without a launcher until a supervisor takes them.
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
        /// Whether somebody has taken the keeper.
        var isTaken = false
        /// As they were when they were looked at.
        var runs: [Run]
        /// Sockets whose names are the leases of ports and devices.
        var leases: [Int32]
    }

    /// All that a keeper keeps, and the connection on which it said so.
    private struct Handover {
        var socket: Int32
        var report: KeeperVisit.Report
        /// -1: none.
        var lock: Int32 = -1
        var plan: Plan?
        /// The last process of each replica, which is the one that counts.
        var runs: [Run] = []
        /// The numbers of those before.
        var outdated: [UInt64] = []
        var leases: [Int32] = []

        /// Takes what follows the first report; a part of it when it throws.
        mutating func receive(_ contents: KeeperVisit.Contents) throws(Failure) {
            self.lock = contents.files.first ?? -1
            for file in contents.files.dropFirst() {
                self.plan = KeptFile.read(Plan.self, from: file)
                Glibc.close(file)
            }
            let misunderstood = Failure(
                description: "the keeper (pid \(self.report.pid)) of the processes that go on cannot be understood"
            )
            var last: [String: Run] = [:]
            for _ in 0..<contents.processes {
                guard let run = Orphans.run(self.socket) else {
                    self.runs = Array(last.values)
                    throw misunderstood
                }
                let name = run.kept.replica.name
                guard let known = last[name] else {
                    last[name] = run
                    continue
                }
                let (old, new) = known.id > run.id ? (run, known) : (known, run)
                last[name] = new
                self.outdated.append(old.id)
                for descriptor in old.descriptors { Glibc.close(descriptor) }
            }
            self.runs = last.values.sorted { $0.id < $1.id }
            guard let leases = KeeperVisit.leases(self.socket, contents.leases) else { throw misunderstood }
            self.leases = leases
        }

        /// Closes all of it.
        func close() {
            for descriptor in self.runs.flatMap(\.descriptors) + self.leases { Glibc.close(descriptor) }
            if self.lock >= 0 { Glibc.close(self.lock) }
            Glibc.close(self.socket)
        }
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

    private init(door: String, handover: Handover, whole: Plan) {
        self.keeper = handover.report.pid
        self.door = door
        self.lock = handover.lock
        // Each process says itself what it is.
        var running = whole
        running.replicas = handover.runs.map(\.kept.replica)
        self.plan = running
        self.whole = whole
        self.launcherEnded = handover.report.launcherEnded
        self.running = handover.report.running
        self.state = Mutex(State(runs: handover.runs, leases: handover.leases))
    }

    deinit {
        close(self.lock)
        self.letGo()
    }

    /// Looks at what the keeper behind a door keeps.
    ///
    /// - Parameter door: its path.
    /// - Returns: what it keeps; nil: there is no keeper.
    /// - Throws: `Failure` when there is one, and it cannot be understood.
    static func find(behind door: String) throws(Failure) -> Orphans? {
        var socket: Int32 = -1
        defer { if socket >= 0 { close(socket) } }
        // Another version may say things that this one would misunderstand.
        guard dynamo_keeper_knock(door, KeeperVisit.patience, &socket) == 0,
            dynamo_keeper_ask(socket, UInt32(DYNAMO_REQUEST_LOOK), 0, 0, 0, -1) == 0,
            let look = KeeperVisit.report(socket)
        else {
            try Self.expectNothing(behind: door)
            return nil
        }
        guard look.contents.version == Int32(DYNAMO_KEEPER_VERSION) else {
            throw Failure(
                description:
                    "the processes that go on (keeper pid \(look.report.pid)) were started by another version of "
                    + "dynamo-launch (\(look.contents.version), this is \(DYNAMO_KEEPER_VERSION)), which alone can adopt them"
            )
        }
        guard let handover = try Self.ask(door, DYNAMO_REQUEST_PEEK) else { return nil }
        guard let whole = handover.plan, handover.lock >= 0 else {
            handover.close()
            throw Failure(
                description: "the keeper (pid \(look.report.pid)) does not know what the processes that go on are"
            )
        }
        close(handover.socket)
        // Nobody else's: they are in the way of others only.
        DeviceLeases.recognise(handover.leases)
        return Orphans(door: door, handover: handover, whole: whole)
    }

    private static func ask(_ door: String, _ request: Int) throws(Failure) -> Handover? {
        var socket: Int32 = -1
        guard dynamo_keeper_knock(door, KeeperVisit.patience, &socket) == 0,
            dynamo_keeper_ask(socket, UInt32(request), 0, 0, 0, -1) == 0,
            let (report, contents) = KeeperVisit.report(socket)
        else {
            if socket >= 0 { close(socket) }
            try Self.expectNothing(behind: door)
            return nil
        }
        var handover = Handover(socket: socket, report: report)
        do throws(Failure) { try handover.receive(contents) } catch {
            handover.close()
            throw error
        }
        return handover
    }

    /// A keeper that is slow is no reason to do as if there were none.
    private static func expectNothing(behind door: String) throws(Failure) {
        var socket: Int32 = -1
        let error = dynamo_keeper_knock(door, KeeperVisit.patience, &socket)
        if socket >= 0 { close(socket) }
        if error == ENOENT || error == ECONNREFUSED { return }
        throw Failure(
            description:
                "the keeper of the processes that go on does not answer at \(door); nothing was changed: try again in a moment"
        )
    }

    fileprivate static func run(_ socket: Int32) -> Run? {
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
    ///
    /// Until then the keeper reads what the processes write: nobody has to wait for a launcher that is busy with its start.
    ///
    /// - Throws: `Failure` when the keeper does not give them, or is gone.
    func take() throws(Failure) -> (keeper: Keeper, runs: [Run])? {
        guard self.letGo() else { return nil }
        guard let handover = try Self.ask(self.door, DYNAMO_REQUEST_ADOPT) else {
            throw Failure(
                description:
                    "the keeper (pid \(self.keeper)) of the processes that went on is gone, and they are with it"
            )
        }
        for lease in handover.leases { close(lease) }
        close(handover.lock)
        for id in handover.outdated {
            _ = dynamo_keeper_ask(handover.socket, UInt32(DYNAMO_REQUEST_FORGET), id, 0, 0, -1)
        }
        dynamo_keeper_limit(handover.socket, 0)
        return (Keeper(adopted: handover.socket, pid: self.keeper), handover.runs)
    }

    /// Closes what there is of what was looked at.
    ///
    /// - Returns: whether that had not been done yet.
    @discardableResult
    private func letGo() -> Bool {
        self.state.withLock { state in
            guard !state.isTaken else { return false }
            for descriptor in state.runs.flatMap(\.descriptors) + state.leases { close(descriptor) }
            state = State(isTaken: true, runs: [], leases: [])
            return true
        }
    }

    /// Further descriptors of the sockets whose names are the leases of ports and devices, which are the caller's; the keeper holds them
    /// until it is given others.
    package func copyLeases() -> [Int32] {
        self.state.withLock { state in state.leases.map { fcntl($0, F_DUPFD_CLOEXEC, 0) }.filter { $0 >= 0 } }
    }

    /// What is kept, for those who only look.
    func peek() -> [Run]? { self.state.withLock { $0.isTaken ? nil : $0.runs } }

    /// Ends all of it, and waits until the keeper is gone.
    ///
    /// In a task that is cancelled it does not wait; the keeper goes on ending what there is.
    package func end() async {
        guard self.letGo() else { return }
        // One that has no time now is asked again.
        while !KeeperVisit.finish(self.door), self.isThere, !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(20))
        }
        while self.isThere {
            do { try await Task.sleep(for: .milliseconds(20)) } catch { return }
        }
        unlink(self.door)
    }

    private var isThere: Bool { ProcessTable.entry(of: self.keeper).map { !$0.isZombie } ?? false }
}
