internal import CProcess
internal import Deployment
internal import Glibc
internal import Synchronization

/// What the keeper reports.
enum KeeperReport: Sendable, Equatable {
    case spawned(id: UInt64, pid: Int32)
    case spawnFailed(id: UInt64, SpawnError)
    /// `id` is nil for a process that the keeper adopted.
    case exited(id: UInt64?, pid: Int32, ProcessExit)
}

/// Why a program could not be started.
struct SpawnError: Error, Sendable, Equatable, CustomStringConvertible {
    var step: Int32
    var errno: Int32
    var executable: String
    var directory: String

    var description: String {
        let reason = errorText(self.errno)
        switch self.step {
        case Int32(DYNAMO_STEP_DIRECTORY): return "cannot enter the working directory \(self.directory): \(reason)"
        case Int32(DYNAMO_STEP_EXECUTE): return "cannot execute \(self.executable): \(reason)"
        case Int32(DYNAMO_STEP_GROUP):
            return "cannot put \(self.executable) into the control group of 'limits.memory': \(reason)"
        case Int32(DYNAMO_STEP_OPEN_FILES): return self.limit("openFiles", reason)
        case Int32(DYNAMO_STEP_CORE_SIZE): return self.limit("coreSize", reason)
        case Int32(DYNAMO_STEP_LOCKED_MEMORY): return self.limit("lockedMemory", reason)
        case Int32(DYNAMO_STEP_CPUS): return self.limit("cpus", reason)
        case Int32(DYNAMO_STEP_NICE): return self.limit("nice", reason)
        case Int32(DYNAMO_STEP_FORK): return "cannot create a process for \(self.executable): \(reason)"
        default: return "cannot start \(self.executable) (step \(self.step)): \(reason)"
        }
    }

    private func limit(_ key: String, _ reason: String) -> String {
        "cannot set 'limits.\(key)' of \(self.executable): \(reason); 'dynamo-launch check' says what this machine allows"
    }

    /// Whether another attempt would end in the same way.
    var isPermanent: Bool {
        [ENOENT, EACCES, EPERM, ENOEXEC, ENOTDIR, EISDIR, ELOOP, E2BIG, ENAMETOOLONG, EINVAL].contains(self.errno)
    }
}

func errorText(_ code: Int32) -> String {
    String(cString: strerror(code))
}

/// The launcher's side of the keeper process (see `CProcess.h`): everything that the launcher starts is the keeper's child, so that
/// nothing outlives a launcher that is killed.
final class Keeper: Sendable {
    let pid: Int32
    private let socket: Int32
    /// Whether it keeps what another launcher needs to adopt what runs.
    let hasDoor: Bool
    /// Keepers that had not ended when nobody waited for them any more.
    ///
    /// They are children of this process: until they are reaped, their numbers are nobody else's.
    private static let leftover = Mutex<[Int32]>([])
    /// What a pending request was for, so that a failure can name it.
    private let pending = Mutex<[UInt64: SpawnRequest]>([:])

    /// Starts the keeper.
    ///
    /// - Parameters:
    ///   - lock: a descriptor that stays open until everything is ended, or -1.
    ///   - door: the path of the socket on which the next launcher finds it, should this one end without a word; nil: everything
    ///     ends with the launcher.
    ///   - softLimit: how many open files what is started may have; 0: as many as the launcher.
    /// - Throws: `KeeperError` when the process could not be made.
    init(lock: Int32, door: String? = nil, softLimit: UInt64 = 0) throws(KeeperError) {
        Self.reapLeftover()
        var socket: Int32 = -1
        var pid: pid_t = 0
        var opened: Int32 = -1
        if let door {
            let error = dynamo_keeper_door(door, &opened)
            guard error == 0 else { throw KeeperError(errno: error, door: door) }
        }
        defer { if opened >= 0 { close(opened) } }
        var error = dynamo_become_subreaper()
        if error == 0 { error = dynamo_keeper_start(lock, opened, softLimit, &socket, &pid) }
        guard error == 0 else { throw KeeperError(errno: error) }
        self.socket = socket
        self.pid = pid
        self.hasDoor = door != nil
    }

    /// The keeper of a launcher that is gone.
    ///
    /// - Parameters:
    ///   - socket: the connection on which it handed over what it keeps; closed with this object.
    ///   - pid: its number.
    init(adopted socket: Int32, pid: Int32) {
        self.socket = socket
        self.pid = pid
        self.hasDoor = true
        // What it leaves behind is this launcher's.
        _ = dynamo_become_subreaper()
    }

    deinit {
        close(self.socket)
    }

    /// Asks for a program to be started; the answer is a report.
    ///
    /// - Throws: `SpawnError` when the request could not be sent.
    func spawn(_ request: SpawnRequest) throws(SpawnError) {
        self.pending.withLock { $0[request.id] = request }
        let text = request.encoded
        var limits = request.limits.map(dynamo_limits.init) ?? dynamo_limits()
        if request.group != nil { limits.set |= 1 << UInt32(DYNAMO_STEP_GROUP) }
        let descriptors = request.descriptors + (request.group.map { [$0] } ?? [])
        let error = text.withUnsafeBytes { bytes in
            dynamo_keeper_spawn(
                self.socket,
                request.id,
                bytes.bindMemory(to: CChar.self).baseAddress,
                bytes.count,
                UInt32(request.arguments.count + 1),
                UInt32(request.environment.count),
                descriptors + request.kept,
                UInt32(descriptors.count),
                UInt32(request.kept.count),
                &limits
            )
        }
        guard error == 0 else {
            self.pending.withLock { _ = $0.removeValue(forKey: request.id) }
            throw request.error(step: Int32(DYNAMO_STEP_REQUEST), errno: error)
        }
    }

    /// Signals a started program; nothing happens when it has ended.
    func signal(_ id: UInt64, _ signal: Int32) {
        _ = dynamo_keeper_signal(self.socket, id, signal)
    }

    /// Kills a started program with its session and all its descendants; nothing happens when it has ended.
    func killTree(_ id: UInt64) {
        _ = dynamo_keeper_kill_tree(self.socket, id)
    }

    /// Waits for nothing more: ``receive(_:)`` returns, and the keeper ends what is left by itself.
    ///
    /// It is reaped when the next one is started.
    func abandon() { shutdown(self.socket, Int32(SHUT_RDWR)) }

    private static func reapLeftover() {
        self.leftover.withLock { pids in
            pids.removeAll { pid in
                var status: Int32 = 0
                return dynamo_reap(pid, 0, &status) != 0
            }
        }
    }

    /// What is kept of an ended program is of no use any more.
    func forget(_ id: UInt64) {
        _ = dynamo_keeper_ask(self.socket, UInt32(DYNAMO_REQUEST_FORGET), id, 0, 0, -1)
    }

    /// Lets the next launcher know how far a program is.
    func note(_ id: UInt64, _ note: KeptNote) {
        _ = dynamo_keeper_ask(self.socket, UInt32(DYNAMO_REQUEST_NOTE), id, 0, note.rawValue, -1)
    }

    /// Whether what runs is to outlive this launcher.
    ///
    /// - Parameters:
    ///   - survives: whether it is.
    ///   - remembering: whether the next launcher is to hear of what has ended by then; otherwise the keeper ends with the last
    ///     process.
    func setSurvive(_ survives: Bool, remembering: Bool = true) {
        let mode: Int32 = !survives ? 0 : remembering ? 1 : 2
        _ = dynamo_keeper_ask(self.socket, UInt32(DYNAMO_REQUEST_SURVIVE), 0, mode, 0, -1)
    }

    /// Has it keep a file for the next launcher, in the place of the one before.
    func keep(_ file: Int32) {
        _ = dynamo_keeper_ask(self.socket, UInt32(DYNAMO_REQUEST_KEEP), 0, 0, 0, file)
    }

    /// Has it hold sockets whose names are leases, in the place of those that it holds: they outlive this launcher as long as it does.
    ///
    /// - Returns: why it does not; nil: it does.
    func hold(_ leases: [Int32]) -> String? {
        let error = dynamo_keeper_lease(self.socket, leases, leases.count)
        // One that is gone holds nothing, and that is said elsewhere.
        return error == 0 || error == EPIPE ? nil : errorText(error)
    }

    /// Nobody comes any more who would take connections to the sockets that programs were passed.
    func closeSockets() {
        _ = dynamo_keeper_ask(self.socket, UInt32(DYNAMO_REQUEST_CLOSE_SOCKETS), 0, 0, 0, -1)
    }

    /// Delivers reports until the keeper is gone.
    ///
    /// Blocks its thread.
    ///
    /// - Returns: how the keeper ended, in words.
    func receive(_ handler: (KeeperReport) -> Void) -> String {
        var report = dynamo_report()
        while dynamo_keeper_receive(self.socket, &report) == 1 {
            switch Int(report.kind) {
            case Int(DYNAMO_REPORT_SPAWNED):
                self.pending.withLock { _ = $0.removeValue(forKey: report.id) }
                handler(.spawned(id: report.id, pid: report.pid))
            case Int(DYNAMO_REPORT_SPAWN_FAILED):
                let request = self.pending.withLock { $0.removeValue(forKey: report.id) }
                let error = SpawnError(
                    step: report.step,
                    errno: report.status,
                    executable: request?.executable ?? "",
                    directory: request?.directory ?? ""
                )
                handler(.spawnFailed(id: report.id, error))
            case Int(DYNAMO_REPORT_EXITED):
                let status = ProcessExit(waitStatus: report.status)
                handler(.exited(id: report.id == 0 ? nil : report.id, pid: report.pid, status))
            default:
                break
            }
        }
        var status: Int32 = 0
        // The socket closes as the keeper exits, so this is a matter of milliseconds.
        let result = dynamo_reap(self.pid, 1000, &status)
        if result == 0 { Self.leftover.withLock { $0.append(self.pid) } }
        return result == 1 ? ProcessExit(waitStatus: status).words : "gone"
    }

    /// Nothing more will be started: the keeper ends what is left, then itself, and `receive` returns.
    func finish() {
        dynamo_keeper_finish(self.socket)
    }
}

/// The keeper process could not be made.
struct KeeperError: Error, CustomStringConvertible {
    var errno: Int32
    /// The socket that could not be made.
    var door: String?

    var description: String {
        guard let door else { return "cannot start the keeper process: \(errorText(self.errno))" }
        let remedy = self.errno == ENAMETOOLONG ? "; set XDG_RUNTIME_DIR to a folder with a shorter name" : ""
        return "cannot make the keeper's socket \(door), which 'survive: true' needs: \(errorText(self.errno))\(remedy)"
    }
}

/// A program to start.
struct SpawnRequest: Sendable {
    var id: UInt64
    var executable: String
    /// argv without argv[0].
    var arguments: [String]
    /// `NAME=value`.
    var environment: [String]
    var directory: String
    /// They become 1, 2, 3 and so on of the program.
    var descriptors: [Int32]
    /// Its own; of the memory limit the group is made before.
    var limits: ProcessLimits?
    /// `cgroup.procs` of the control group that it is to be in.
    var group: Int32?
    /// What the keeper keeps for the next launcher, in the order of `DYNAMO_KEPT_LABEL` and so on.
    var kept: [Int32] = []

    /// NUL-terminated strings, as `dynamo_keeper_spawn` wants them.
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        for text in [self.executable, self.directory, self.executable] + self.arguments + self.environment {
            bytes.append(contentsOf: text.utf8.lazy.filter { $0 != 0 })
            bytes.append(0)
        }
        return bytes
    }

    func error(step: Int32, errno: Int32) -> SpawnError {
        SpawnError(step: step, errno: errno, executable: self.executable, directory: self.directory)
    }
}

extension dynamo_limits {
    init(_ limits: ProcessLimits) {
        self.init()
        func mark(_ step: Int) { self.set |= 1 << UInt32(step) }
        if let openFiles = limits.openFiles {
            self.open_files = openFiles
            mark(DYNAMO_STEP_OPEN_FILES)
        }
        if let coreSize = limits.coreSize {
            self.core_size = coreSize
            mark(DYNAMO_STEP_CORE_SIZE)
        }
        if let lockedMemory = limits.lockedMemory {
            self.locked_memory = lockedMemory
            mark(DYNAMO_STEP_LOCKED_MEMORY)
        }
        if let nice = limits.nice {
            self.nice = nice
            mark(DYNAMO_STEP_NICE)
        }
        guard !limits.cpus.isEmpty else { return }
        mark(DYNAMO_STEP_CPUS)
        withUnsafeMutableBytes(of: &self.cpus) { bytes in
            for cpu in limits.cpus where cpu / 8 < bytes.count { bytes[cpu / 8] |= 1 << (cpu % 8) }
        }
    }
}
