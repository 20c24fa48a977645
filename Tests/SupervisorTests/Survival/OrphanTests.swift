import CProcess
import Deployment
import Glibc
import TestSupport
import Testing

@testable import Supervisor

/// What the keeper keeps without a launcher, and gives to the next one.
@Suite(.serialized, .timeLimit(.minutes(1)))
struct OrphanTests {
    /// A keeper with a door, in a folder of its own, and the launcher's end of the pipes of one process.
    final class Kept {
        let folder = ScratchFolder()
        var keeper: Keeper?
        let lock: Int32
        var spools: [LogSpool] = []

        var door: String { "\(self.folder.path)/\(KeeperVisit.name)" }

        init() throws {
            self.lock = open("\(self.folder.path)/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
            try #require(flock(self.lock, LOCK_EX | LOCK_NB) == 0)
            let keeper = try Keeper(lock: self.lock, door: "\(self.folder.path)/\(KeeperVisit.name)")
            let plan = try KeptFile.make(Self.plan(self.folder.path))
            keeper.keep(plan)
            close(plan)
            self.keeper = keeper
        }

        deinit { close(self.lock) }

        static func plan(_ folder: String) -> Plan {
            Plan(
                deployment: "kept",
                planes: PlaneSet(request: .tcp, events: .none, response: .tcp),
                namespace: "kept",
                discovery: .memory,
                publicAddress: HTTPAddress(host: "127.0.0.1", port: 1),
                survive: true,
                directories: DeploymentDirectories(state: folder, runtime: folder),
                replicas: []
            )
        }

        /// Starts a script as a replica; the reading end of its output is returned.
        @discardableResult
        func spawn(_ id: UInt64, _ name: String, _ script: String, sockets: [Int32] = []) throws -> Int32 {
            let (output, errors) = (try Pipe(), try Pipe())
            let replica = ReplicaPlan(
                process: name,
                name: name,
                role: .infrastructure,
                executable: "/bin/sh",
                arguments: ["-c", script],
                workingDirectory: "/tmp"
            )
            let label = try KeptFile.make(KeptReplica(replica: replica, run: 3, restarts: 2, startedAt: 1000))
            let spools = try (0..<2).map { _ in try #require(LogSpool(dynamo_spool_make())) }
            self.spools += spools
            try self.keeper?.spawn(
                SpawnRequest(
                    id: id,
                    executable: "/bin/sh",
                    arguments: ["-c", script],
                    environment: ["PATH=/usr/bin:/bin"],
                    directory: "/tmp",
                    descriptors: [output.writing, errors.writing],
                    kept: [label, output.reading, errors.reading] + spools.map(\.descriptor) + sockets
                )
            )
            for descriptor in [label, output.writing, errors.writing, errors.reading] { close(descriptor) }
            return output.reading
        }

        /// The launcher goes without a word.
        func die() { self.keeper = nil }

        func adopted() throws -> Orphans { try #require(try Orphans.find(behind: self.door)) }
    }

    private static func isGone(_ pid: Int32) -> Bool { ProcessTable.entry(of: pid).map(\.isZombie) ?? true }

    private static func text(of spool: Int32) throws -> String {
        String(decoding: try #require(LogSpool(spool)).leftover().bytes, as: UTF8.self)
    }

    @Test func `a process goes on without its launcher, and the next one gets it with all that it wrote`() async throws
    {
        let kept = try Kept()
        let gate = "\(kept.folder.path)/gate"
        mkfifo(gate, 0o600)
        let pipe = try kept.spawn(
            7,
            "talker",
            "echo one; printf tw; read x < \(gate); echo o; touch \(gate).done; exec sleep 1000"
        )
        // The launcher reads a part, and dies before it has logged it.
        try await eventually("read") { kept.spools[0].read(pipe).count > 0 }
        kept.die()
        try await eventually("it is orphaned") { KeeperVisit.look(kept.door)?.running == 1 }
        close(open(gate, O_WRONLY | O_CLOEXEC))
        try await eventually("it has gone on") { access("\(gate).done", F_OK) == 0 }
        let (keeper, runs) = try #require(try kept.adopted().take())
        let run = try #require(runs.first)
        #expect(runs.count == 1 && run.exit == nil)
        #expect(run.kept.run == 3 && run.kept.restarts == 2 && run.kept.replica.name == "talker")
        let entry = try #require(ProcessTable.entry(of: run.pid))
        #expect(entry.parent == keeper.pid)
        #expect(entry.startTime == run.startTime)
        var text = try Self.text(of: run.outputSpool)
        var buffer = [UInt8](repeating: 0, count: 100)
        let more = read(run.output, &buffer, buffer.count)
        if more > 0 { text += String(decoding: buffer[..<more], as: UTF8.self) }
        #expect(text == "one\ntwo\n")
        keeper.finish()
        try await eventually("all of it is gone") { Self.isGone(run.pid) && Self.isGone(keeper.pid) }
    }

    @Test func `who gave up while there was a launcher ends nothing later`() async throws {
        let kept = try Kept()
        try kept.spawn(1, "sleeper", "exec sleep 1000")
        var socket: Int32 = -1
        try #require(dynamo_keeper_knock(kept.door, 1000, &socket) == 0)
        try #require(dynamo_keeper_ask(socket, UInt32(DYNAMO_REQUEST_FINISH), 0, 0, 0, -1) == 0)
        close(socket)
        kept.die()
        let (keeper, runs) = try #require(try kept.adopted().take())
        let run = try #require(runs.first)
        #expect(run.exit == nil && !Self.isGone(run.pid))
        keeper.finish()
        try await eventually("all of it is gone") { Self.isGone(run.pid) && Self.isGone(keeper.pid) }
    }

    @Test func `a keeper that remembers nothing ends with its last process, and is taken over before`() async throws {
        let kept = try Kept()
        kept.keeper?.setSurvive(true, remembering: false)
        try kept.spawn(1, "sleeper", "exec sleep 1000")
        kept.die()
        let pid = try #require(try kept.adopted().peek()?.first?.pid)
        try await eventually("it is orphaned again") { KeeperVisit.look(kept.door)?.running == 1 }
        #expect(KeeperVisit.adopt(kept.door, running: pid + 1) == nil, "another process than was meant")
        try await eventually("and once more") { KeeperVisit.look(kept.door)?.running == 1 }
        let keeper: Int32
        do {
            let (taken, id) = try #require(KeeperVisit.adopt(kept.door, running: pid))
            #expect(id == 1)
            keeper = taken.pid
        }
        try await eventually("nobody has it") { KeeperVisit.look(kept.door)?.running == 1 }
        kill(pid, SIGKILL)
        try await eventually("the keeper is gone too") { Self.isGone(keeper) }
    }

    @Test func `what is written while there is no launcher blocks nobody, and the oldest of it is kept`() async throws {
        let kept = try Kept()
        // More than a pipe and a spool hold together, and a mark when all of it was written.
        let script =
            "i=0; while [ $i -lt 6 ]; do head -c 1048576 /dev/zero | tr '\\0' a; i=$((i+1)); done; touch \(kept.folder.path)/done; exec sleep 1000"
        try kept.spawn(1, "flood", script)
        kept.die()
        try await eventually("it has written everything") { access("\(kept.folder.path)/done", F_OK) == 0 }
        let orphans = try kept.adopted()
        let (keeper, runs) = try #require(try orphans.take())
        let run = try #require(runs.first)
        let leftover = try #require(LogSpool(run.outputSpool)).leftover()
        var rest = 0
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(run.output, &buffer, buffer.count)
            if count <= 0 { break }
            rest += count
        }
        #expect(leftover.bytes.count == 4 << 20)
        #expect(leftover.bytes.count + Int(leftover.dropped) + rest == 6 << 20)
        keeper.finish()
        try await eventually("gone") { Self.isGone(keeper.pid) }
    }

    @Test func `an end without a launcher is told with its true code`() async throws {
        let kept = try Kept()
        let gate = "\(kept.folder.path)/gate"
        mkfifo(gate, 0o600)
        try kept.spawn(5, "short", "read x < \(gate); exit 7")
        try kept.spawn(6, "long", "exec sleep 1000")
        kept.keeper?.note(6, KeptNote(rawValue: 9))
        kept.die()
        try await eventually("it is orphaned") { KeeperVisit.look(kept.door)?.running == 2 }
        let writer = open(gate, O_WRONLY | O_CLOEXEC)
        close(writer)
        try await eventually("one has ended") { KeeperVisit.look(kept.door)?.ended == 1 }
        // One that is interrupted takes nothing away.
        var orphans: Orphans? = try kept.adopted()
        #expect(orphans?.running == 1)
        orphans = nil
        try await eventually("it is orphaned again") { KeeperVisit.look(kept.door)?.running == 1 }
        let (keeper, runs) = try #require(try kept.adopted().take())
        #expect(runs.first { $0.kept.replica.name == "short" }?.exit == .exited(7))
        let long = try #require(runs.first { $0.kept.replica.name == "long" })
        #expect(long.exit == nil && long.note.isHalted && long.note.wasReady)
        // From here on it is the new launcher's as any other.
        keeper.signal(6, SIGINT)
        var reports: [KeeperReport] = []
        keeper.forget(5)
        try await eventually("it has ended") { Self.isGone(long.pid) }
        keeper.finish()
        _ = keeper.receive { reports.append($0) }
        #expect(reports.contains(.exited(id: 6, pid: long.pid, .signalled(SIGINT))))
    }

    @Test func `READY=1 that is said without a launcher is not lost, and a stranger's is not heard`() async throws {
        let kept = try Kept()
        let socket = try NotifySocket(path: "\(kept.folder.path)/notify")
        let say = "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', '\(socket.path)')"
        let gate = "\(kept.folder.path)/gate"
        mkfifo(gate, 0o600)
        try kept.spawn(
            1,
            "service",
            "read x < \(gate); python3 -c \"\(say)\"; exec sleep 1000",
            sockets: [socket.descriptor]
        )
        try kept.spawn(2, "stranger", "python3 -c \"\(say)\"; touch \(kept.folder.path)/said; exec sleep 1000")
        kept.die()
        try await eventually("the stranger has spoken") { access("\(kept.folder.path)/said", F_OK) == 0 }
        func isHeard() throws -> Bool {
            let orphans = try kept.adopted()
            let runs = try #require(orphans.peek())
            return runs.first { $0.kept.replica.name == "service" }?.note.isNotified == true
        }
        #expect(try !isHeard())
        let writer = open(gate, O_WRONLY | O_CLOEXEC)
        close(writer)
        try await eventually("the service is heard") { try isHeard() }
        #expect(KeeperVisit.finish(kept.door))
        try await eventually("gone") { KeeperVisit.look(kept.door) == nil }
    }

    @Test func `what is written before the next launcher has begun blocks nobody either, and an end by then is told`()
        async throws
    {
        let kept = try Kept()
        let gate = "\(kept.folder.path)/gate"
        mkfifo(gate, 0o600)
        // More than a pipe holds.
        let flood = "read x < \(gate); head -c 1048576 /dev/zero | tr '\\0' a; touch \(kept.folder.path)/done; exit 7"
        try kept.spawn(1, "flood", flood)
        kept.die()
        let (orphans, late) = (try kept.adopted(), try kept.adopted())
        #expect(orphans.running == 1 && orphans.peek()?.first?.exit == nil)
        close(open(gate, O_WRONLY | O_CLOEXEC))
        try await eventually("it has written everything") { access("\(kept.folder.path)/done", F_OK) == 0 }
        try await eventually("its end is known") { KeeperVisit.look(kept.door)?.ended == 1 }
        let (keeper, runs) = try #require(try orphans.take())
        #expect(try orphans.take() == nil)
        let run = try #require(runs.first)
        #expect(run.exit == .exited(7))
        var size = try #require(LogSpool(run.outputSpool)).leftover().bytes.count
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = read(run.output, &buffer, buffer.count), count > 0 { size += count }
        #expect(size == 1 << 20)
        keeper.finish()
        try await eventually("gone") { Self.isGone(keeper.pid) }
        #expect(throws: Orphans.Failure.self, "it is too late") { _ = try late.take() }
    }

    @Test func `who waits for the end of all can be interrupted, and the keeper goes on with it`() async throws {
        let kept = try Kept()
        let mark = "\(kept.folder.path)/asked"
        try kept.spawn(1, "deaf", "trap 'touch \(mark)' TERM; touch \(mark).ready; while :; do sleep 0.05; done")
        try await eventually("it listens") { access("\(mark).ready", F_OK) == 0 }
        kept.die()
        let orphans = try kept.adopted()
        let keeper = orphans.keeper
        defer { kill(keeper, SIGCONT) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await orphans.end() }
            try await eventually("it is asked to end") { access(mark, F_OK) == 0 }
            // Before it kills what does not obey.
            kill(keeper, SIGSTOP)
            let isThere = !Self.isGone(keeper)
            group.cancelAll()
            try await group.waitForAll()
            // Unless this machine was so slow that it was too late.
            if isThere { #expect(!Self.isGone(keeper)) }
        }
        kill(keeper, SIGCONT)
        try await eventually(within: .seconds(30), "all of it is gone") { Self.isGone(keeper) }
    }

    @Test func `leases outlive the launcher, the next one gets all of them, and they end with the keeper`() async throws
    {
        let kept = try Kept()
        try kept.spawn(1, "sleeper", "exec sleep 1000")
        let mark = "test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        func held() -> Set<String> {
            let table = String(decoding: ProcessTable.read("/proc/net/unix") ?? [], as: UTF8.self)
            return Set(table.split(separator: "\n").compactMap { $0.split(separator: "@").last }.map(String.init))
                .filter { $0.hasPrefix(mark) }
        }
        func hold(_ names: Set<String>) throws {
            let sockets = try names.map { try #require(AbstractName.bind($0)) }
            #expect(kept.keeper?.hold(sockets) == nil)
            for socket in sockets { close(socket) }
        }
        // More than a packet takes, of either direction.
        let first = Set((0..<300).map { "\(mark)/a\($0)" })
        let second = Set((0..<200).map { "\(mark)/b\($0)" })
        try hold(first)
        #expect(held() == first)
        try hold(second)
        try await eventually("the first ones are let go") { held() == second }
        kept.die()
        try await eventually("it is orphaned") { KeeperVisit.look(kept.door)?.running == 1 }
        #expect(held() == second)
        do {
            let orphans = try kept.adopted()
            let leases = orphans.copyLeases()
            #expect(leases.count == second.count && Set(leases.compactMap { AbstractName.of($0) }) == second)
            for lease in leases { close(lease) }
        }
        // Nobody has adopted it after all.
        try await eventually("it is orphaned again") { KeeperVisit.look(kept.door)?.running == 1 }
        #expect(held() == second)
        let (keeper, _) = try #require(try kept.adopted().take())
        #expect(keeper.hold([]) == nil)
        try await eventually("all are let go") { held().isEmpty }
        let name = try #require(AbstractName.bind("\(mark)/c"))
        #expect(keeper.hold([name]) == nil)
        close(name)
        keeper.finish()
        try await eventually("gone") { Self.isGone(keeper.pid) && held().isEmpty }
    }

    @Test func `without a door, and when it is told to, everything ends with the launcher`() async throws {
        let kept = try Kept()
        let gate = "\(kept.folder.path)/gate"
        mkfifo(gate, 0o600)
        try kept.spawn(1, "worker", "trap '' TERM; echo $$ > \(kept.folder.path)/pid; while :; do sleep 1; done")
        func written() -> String { String(decoding: ProcessTable.read("\(kept.folder.path)/pid") ?? [], as: UTF8.self) }
        try await eventually("it runs") { written().hasSuffix("\n") }
        let pid = try #require(Int32(written().trimmed))
        kept.keeper?.setSurvive(false)
        kept.die()
        try await eventually(within: .seconds(30), "it is gone") { Self.isGone(pid) }
    }

    @Test func `a reader that dies between reading and saying so loses nothing`() throws {
        let descriptor = dynamo_spool_make()
        let spool = try #require(LogSpool(descriptor))
        let pipe = try Pipe()
        #expect(write(pipe.writing, "one\ntwo\nthr", 11) == 11)
        _ = spool.read(pipe.reading)
        // The first line was logged, the launcher died, and the next one finds the rest.
        spool.logged(rest: Array("two\nthr".utf8))
        #expect(String(decoding: spool.leftover().bytes, as: UTF8.self) == "two\nthr")
        spool.beginLogging()
        #expect(spool.leftover().doubtful == 7)
        spool.logged(rest: Array("thr".utf8))
        #expect(spool.leftover() == LogSpool.Leftover(bytes: Array("thr".utf8), doubtful: 0, dropped: 0))
        spool.logged(rest: [])
        #expect(spool.leftover().bytes.isEmpty)
        pipe.close()
        spool.close()
    }

    @Test func `a spool that is used for long begins anew without losing the beginning of a line`() throws {
        let spool = try #require(LogSpool(dynamo_spool_make()))
        let pipe = try Pipe()
        let chunk = [UInt8](repeating: UInt8(ascii: "x"), count: 60000)
        for round in 0..<100 {
            #expect(write(pipe.writing, chunk, chunk.count) == chunk.count)
            let (count, _) = spool.read(pipe.reading)
            #expect(count == chunk.count)
            let rest = Array("rest \(round)".utf8)
            // As if the last bytes were these.
            spool.beginLogging()
            spool.logged(rest: Array(chunk.suffix(rest.count)))
            #expect(spool.leftover().bytes == Array(chunk.suffix(rest.count)), "round \(round)")
        }
        pipe.close()
        spool.close()
    }
}
