import Deployment
import Foundation
import Glibc
import TestSupport
import Testing

@testable import Supervisor

/// What processes may use.
@Suite(.serialized, .timeLimit(.minutes(1)))
struct LimitsTests {
    private static let generous = MachineLimits(
        openFiles: 4096,
        coreSize: .max,
        lockedMemory: 8 << 20,
        mayRaise: false,
        highestOpenFiles: 1 << 20,
        lowestNice: 0,
        cpus: [0, 1, 2, 5],
        memoryTrouble: nil
    )

    /// The process reads its own from /proc, and its child's.
    @Test func aRealProcessHasItsLimitsAndItsChildrenHaveThemToo() async throws {
        let folder = ScratchFolder()
        let cpu = try #require(MachineLimits.current().cpus.max())
        let script = """
            cat /proc/self/limits; grep Cpus_allowed_list /proc/self/status
            sh -c 'cut -d" " -f19 /proc/self/stat'; echo end; exec sleep 1000
            """
        var replica = ReplicaPlan.shell("worker", script)
        let own = MachineLimits.current()
        replica.limits = ProcessLimits(
            openFiles: min(300, own.openFiles),
            coreSize: 0,
            lockedMemory: min(65536, own.lockedMemory),
            nice: 7,
            cpus: [cpu]
        )
        // Another one has none of this.
        let other = ReplicaPlan.shell("other", script)
        try await RunningSupervisor.run(Plan.test(folder, [replica, other])) { running in
            try await running.becomesReady()
            try await eventually("all read") {
                running.text(of: "worker").last == "end" && running.text(of: "other").last == "end"
            }
            let lines = running.text(of: "worker").map { $0.split(separator: " ").map(String.init) }
            func words(_ start: [String], in lines: [[String]]) -> [String]? {
                lines.first { Array($0.prefix(start.count)) == start }.map { Array($0.dropFirst(start.count)) }
            }
            #expect(words(["Max", "open", "files"], in: lines) == ["300", "300", "files"])
            #expect(words(["Max", "core", "file", "size"], in: lines) == ["0", "0", "bytes"])
            #expect(words(["Max", "locked", "memory"], in: lines) == ["65536", "65536", "bytes"])
            #expect(lines.contains { $0.last?.hasSuffix("list:\t\(cpu)") ?? false }, "\(lines)")
            #expect(lines.dropLast().last == ["7"])
            let others = running.text(of: "other").map { $0.split(separator: " ").map(String.init) }
            #expect(words(["Max", "open", "files"], in: others)?[1] == String(own.openFiles))
            #expect(others.dropLast().last == ["\(getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0))"])
        }
    }

    @Test func aLimitThatCannotBeSetIsNamedAndNotTriedAgain() async throws {
        let folder = ScratchFolder()
        var replica = ReplicaPlan.shell("worker", "exec sleep 1000")
        // One that there is, and one that no machine has: the kernel would take the first alone.
        replica.limits = ProcessLimits(cpus: [try #require(MachineLimits.current().cpus.min()), 1023])
        let outcome = try await RunningSupervisor.run(Plan.test(folder, [replica])) { try await $0.ends() }
        #expect(outcome.exitCode == 1)
        #expect(
            outcome.failure?.message.hasPrefix(
                "worker: cannot set 'limits.cpus' of /bin/sh: Invalid argument; 'dynamo-launch check' says what"
            ) == true,
            "\(outcome.failure?.message ?? "")"
        )
        replica.limits = ProcessLimits(openFiles: UInt64(Int32.max))
        let second = try await RunningSupervisor.run(Plan.test(folder, [replica])) { try await $0.ends() }
        #expect(second.failure?.message.contains("'limits.openFiles' of /bin/sh: Operation not permitted") == true)
    }

    @Test func whatTheMachineDoesNotAllowIsSaidWithARemedy() throws {
        let machine = Self.generous
        #expect(
            machine.obstacles(
                to: ProcessLimits(openFiles: 4096, coreSize: .max, lockedMemory: 0, memory: 1, nice: 0, cpus: [0, 5])
            ).isEmpty
        )
        let limits = ProcessLimits(openFiles: 4097, lockedMemory: .max, nice: -1, cpus: [1, 2, 3, 4])
        let obstacles = machine.obstacles(to: limits)
        try #require(obstacles.count == 4)
        #expect(obstacles[0].contains("'limits.openFiles' is 4097, and the launcher's own hard limit is 4096"))
        #expect(obstacles[0].contains("LimitNOFILE="))
        #expect(obstacles[1].contains("'limits.lockedMemory' is unlimited, and the launcher's own hard limit is 8Mi"))
        #expect(obstacles[2].contains("'limits.nice' is -1, and the launcher may give no less than 0"))
        #expect(obstacles[3].contains("'limits.cpus' has 3-4, and the launcher may use 0-2,5"))
        var root = machine
        root.mayRaise = true
        root.lowestNice = -20
        root.memoryTrouble = "no groups here"
        #expect(root.obstacles(to: ProcessLimits(openFiles: 4097, lockedMemory: .max, nice: -20)).isEmpty)
        #expect(root.obstacles(to: ProcessLimits(openFiles: 2 << 20)).first?.contains("fs.nr_open") == true)
        #expect(root.obstacles(to: ProcessLimits(memory: 5)) == ["no groups here"])
    }

    // MARK: Control groups

    /// A folder that looks as a process file system and a control group do.
    private final class FakeGroups {
        let folder = ScratchFolder()
        var group: String { "\(self.folder.path)/cgroup/unit" }

        init(controllers: String = "cpu memory\n", place: String = "/unit", processes: String = "\(getpid())\n") throws
        {
            for path in ["self", "cgroup/unit/dynamo-launch", "cgroup/unit/chat.g1.worker"] {
                try FileManager.default.createDirectory(
                    atPath: "\(self.folder.path)/\(path)",
                    withIntermediateDirectories: true
                )
            }
            try self.write(
                "20 1 0:1 / /proc rw - proc proc rw\n30 1 0:2 / \(self.folder.path)/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
                "self/mountinfo"
            )
            try self.write("4:memory:/old\n0::\(place)\n", "self/cgroup")
            try self.write(controllers, "cgroup/unit/cgroup.controllers")
            try self.write(processes, "cgroup/unit/cgroup.procs")
            for file in ["cgroup.subtree_control", "dynamo-launch/cgroup.procs"]
                + ["memory.max", "cgroup.procs"].map({
                    "chat.g1.worker/\($0)"
                })
            { try self.write("", "cgroup/unit/\(file)") }
        }

        private func write(_ text: String, _ path: String) throws {
            try text.write(toFile: "\(self.folder.path)/\(path)", atomically: false, encoding: .utf8)
        }

        func read(_ path: String) -> String? {
            try? String(contentsOfFile: "\(self.group)/\(path)", encoding: .utf8)
        }

        func find() throws(ControlGroupTrouble) -> ControlGroups {
            try ControlGroups.find(root: self.folder.path)
        }
    }

    /// The process writes its own number into the group before its program begins.
    @Test func aReplicaEntersAGroupWithItsMemory() async throws {
        let fake = try FakeGroups()
        let groups = try fake.find()
        #expect(groups.path == fake.group)
        try groups.handMemoryOn()
        #expect(fake.read("dynamo-launch/cgroup.procs")?.hasPrefix("\(getpid())") == true)
        #expect(fake.read("cgroup.subtree_control") == "+memory")
        let descriptor = try groups.open("chat.g1.worker", memory: 5 << 20)
        #expect(fake.read("chat.g1.worker/memory.max") == "5242880")
        let kept = try KeeperTests.Kept()
        try kept.keeper.spawn(
            SpawnRequest(
                id: 1,
                executable: "/bin/sh",
                arguments: ["-c", "exit 4"],
                environment: [],
                directory: "/",
                descriptors: [],
                group: descriptor
            )
        )
        close(descriptor)
        try await eventually("ended") { kept.exit(of: 1) == .exited(4) }
        #expect(fake.read("chat.g1.worker/cgroup.procs") == "0")
        kept.keeper.finish()
    }

    @Test func aLauncherThatMovedIsFoundInItsOldPlace() throws {
        #expect(try FakeGroups(place: "/unit/dynamo-launch").find().path.hasSuffix("/cgroup/unit"))
    }

    @Test func whereNoGroupCanBeMadeTheReasonIsSaid() throws {
        func reason(_ fake: FakeGroups) -> String {
            do throws(ControlGroupTrouble) { return try fake.find().path } catch { return error.description }
        }
        #expect(reason(try FakeGroups(controllers: "cpu\n")).contains("/cgroup/unit has no memory controller"))
        #expect(reason(try FakeGroups(processes: "\(getpid())\n1\n")).contains("not the launcher's alone: pid 1 is in"))
        #expect(reason(try FakeGroups(controllers: "cpu\n")).contains("systemd-run --user --scope -p Delegate=yes"))
        let fake = try FakeGroups()
        try "".write(toFile: "\(fake.folder.path)/self/mountinfo", atomically: false, encoding: .utf8)
        #expect(reason(fake).contains("this machine has no cgroup v2"))
    }
}
