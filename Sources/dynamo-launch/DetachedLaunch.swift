import Dispatch
import FoundationEssentials
import Glibc
import Synchronization
import UnixSignals

/// `up --detach`: a launcher in a session of its own, whose lines are shown until the deployment serves.
struct DetachedLaunch {
    /// The launcher's command line, with the descriptor that it is to be ready on.
    private let arguments: [String]

    /// - Parameter arguments: this program's own.
    init(arguments: [String]) {
        let own = arguments.prefix { $0 != "--" }
        self.arguments =
            own.filter { $0 != "-d" && $0 != "--detach" } + [
                "--ready-fd", "\(Self.readyDescriptor)", Self.waitsForChange,
            ]
            + arguments.dropFirst(own.count)
    }

    /// Where the launcher says that the deployment serves.
    private static let readyDescriptor: Int32 = 3
    /// A person who has changed the manifest wants to know what became of that; a supervisor wants to know that it serves.
    private static let waitsForChange = "--ready-when-changed"

    /// Starts it; returns when the deployment serves.
    ///
    /// Until then Ctrl-C stops it, as it would stop a launcher in the foreground.
    ///
    /// - Returns: 0 when it serves, else the launcher's own exit code, after its last line was shown; 1 when it was stopped before.
    /// - Throws: `Failure` when it cannot be started.
    func run() async throws -> Int32 {
        // Before there is a launcher that nobody would stop; with nohup the end of the terminal means nothing.
        let signals = await UnixSignalsSequence(
            trapping: UpCommand.ignoresHangup ? [.sigint, .sigterm] : [.sigint, .sigterm, .sighup]
        )
        let (output, ready) = (try Self.pipe(), try Self.pipe())
        defer { for descriptor in [output.reading, ready.reading] { close(descriptor) } }
        let launcher: pid_t
        do throws(Failure) { launcher = try self.spawn(output.writing, ready.writing) } catch {
            for descriptor in [output.writing, ready.writing] { close(descriptor) }
            throw error
        }
        for descriptor in [output.writing, ready.writing] { close(descriptor) }
        return await withTaskGroup(of: Int32?.self) { group in
            group.addTask {
                for await _ in signals { kill(launcher, SIGTERM) }
                return nil
            }
            group.addTask {
                // A thread that may wait.
                await withCheckedContinuation { continuation in
                    DispatchQueue.global().async {
                        continuation.resume(returning: Self.follow(launcher, output.reading, ready.reading))
                    }
                }
            }
            defer { group.cancelAll() }
            while let next = await group.next() {
                if let code = next { return code }
            }
            return 1
        }
    }

    /// It could not be started.
    struct Failure: Error, CustomStringConvertible {
        var description: String

        init(_ what: String, _ code: Int32) { self.description = "\(what): \(String(cString: strerror(code)))" }
    }

    private static func follow(_ launcher: pid_t, _ output: Int32, _ ready: Int32) -> Int32 {
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        var isReady = false
        while true {
            var waiting = [output, ready].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            if isReady { waiting[1].fd = -1 }
            // What was written before the line is shown; what comes later is not waited for.
            guard poll(&waiting, 2, isReady ? 0 : -1) > 0 else {
                if isReady { return 0 }
                continue
            }
            if waiting[1].revents != 0, read(ready, &buffer, 1) > 0 {
                isReady = true
                continue
            }
            if waiting[0].revents != 0 {
                let count = read(output, &buffer, buffer.count)
                // All that it had open is closed: it has ended.
                guard count > 0 else { break }
                Terminal.printVerbatim(String(decoding: buffer[..<count], as: UTF8.self))
            }
        }
        var status: Int32 = 0
        while waitpid(launcher, &status, 0) < 0, errno == EINTR {}
        let code = status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
        // One whose work is done at once is ready and ends.
        guard code == 0, !isReady else { return code }
        Terminal.printError(
            "error: the launcher was stopped before the deployment served; 'dynamo-launch events' shows what happened"
        )
        return 1
    }

    private func spawn(_ output: Int32, _ ready: Int32) throws(Failure) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        for (descriptor, number) in [(output, STDOUT_FILENO), (output, STDERR_FILENO), (ready, Self.readyDescriptor)] {
            posix_spawn_file_actions_adddup2(&actions, descriptor, number)
        }
        // What the caller has open, a lock perhaps, is not the launcher's.
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? [] {
            if let number = Int32(name), number > STDERR_FILENO { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
        }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Self.newSession | Int16(POSIX_SPAWN_SETSIGMASK))
        let words = [CommandLine.arguments.first ?? "dynamo-launch"] + self.arguments
        var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, &pointers, environ)
        guard code == 0 else { throw Failure("the launcher cannot be started in the background", code) }
        return pid
    }

    /// `POSIX_SPAWN_SETSID`, which the C library shows with GNU extensions only.
    private static let newSession: Int16 = 0x80

    /// A pipe whose ends are far from the numbers that the launcher gets them as.
    private static func pipe() throws(Failure) -> (reading: Int32, writing: Int32) {
        var ends: [Int32] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else { throw Failure("there is no pipe for the launcher's output", errno) }
        let moved = ends.map { fcntl($0, F_DUPFD_CLOEXEC, 10) }
        for end in ends { close(end) }
        guard let first = moved.first, let second = moved.last, first >= 0, second >= 0 else {
            throw Failure("there is no pipe for the launcher's output", EMFILE)
        }
        return (first, second)
    }
}

/// Tells whoever started the launcher, by a line on a descriptor, that the deployment serves.
final class ReadinessLine: Sendable {
    private struct State {
        /// Nil once it is written.
        var descriptor: Int32?
        var isReady = false
        var isHeld = false
    }

    private let state: Mutex<State>

    /// Nil when it is not open for writing.
    ///
    /// - Parameter descriptor: what the launcher starts does not get it.
    init?(_ descriptor: Int32) {
        let flags = fcntl(descriptor, F_GETFL)
        guard descriptor > STDERR_FILENO, flags >= 0, flags & O_ACCMODE != O_RDONLY,
            fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0
        else { return nil }
        self.state = Mutex(State(descriptor: descriptor))
    }

    /// Writes the line, the first time, and closes the descriptor; not before ``release()`` when it is held.
    func write() { self.change { $0.isReady = true } }

    /// Something is waited for beside that the deployment serves.
    func hold() { self.change { $0.isHeld = true } }

    /// That is there.
    func release() { self.change { $0.isHeld = false } }

    private func change(_ change: (inout State) -> Void) {
        self.state.withLock { state in
            change(&state)
            guard state.isReady, !state.isHeld, let number = state.descriptor else { return }
            _ = Glibc.write(number, "\n", 1)
            close(number)
            state.descriptor = nil
        }
    }
}
