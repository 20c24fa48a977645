import Deployment
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Supervisor

/// Memory of GPUs that processes hold, as an `nvidia-smi` tells that reads a file.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct GPUMemoryTests {
    /// A folder with the program, and what it says.
    private struct Tool {
        let folder = ScratchFolder()
        var answer: String { "\(self.folder.path)/answer" }

        func make() throws -> GPUTool {
            let path = "\(self.folder.path)/nvidia-smi"
            // As the real one it lists what is asked for, and nothing where no process has memory.
            let script = """
                #!/bin/sh
                case "$1" in --query-compute-apps=pid,used_memory,gpu_uuid) cat \(self.answer) 2>/dev/null; exit 0;; esac
                exit 1
                """
            try script.write(toFile: path, atomically: true, encoding: .utf8)
            chmod(path, 0o755)
            return try #require(GPUTool(environment: ["PATH": "\(self.folder.path):/usr/bin:/bin"]))
        }

        func say(_ text: String) throws { try text.write(toFile: self.answer, atomically: true, encoding: .utf8) }
    }

    private static func worker(_ script: String, restart: RestartPolicy? = nil) -> ReplicaPlan {
        var replica = ReplicaPlan.shell(
            "worker",
            script,
            restart: restart ?? RestartPolicy(initialDelay: 0, maximumDelay: 0)
        )
        replica.gpus = ["0"]
        return replica
    }

    @Test func `where there is none nothing is asked`() {
        #expect(GPUTool(environment: ["PATH": "/nowhere"]) == nil)
    }

    @Test func `its lines are read`() {
        let users = GPUTool.users(
            in: "4711, 20480, GPU-8f3c\n4712, [N/A], GPU-8f3c\n4711, 10, GPU-9\nNo running processes\n"
        )
        #expect(users.map(\.pid) == [4711, 4712, 4711])
        #expect(GPUTool.memory(users) == [4711: 20490])
    }

    @Test func `a worker is started again when the memory of its last run is free`() async throws {
        let tool = Tool()
        let folder = ScratchFolder()
        let options = SupervisorOptions(gpuTool: try tool.make(), gpuMemoryLimit: .seconds(60))
        // Its child is an engine's: the one that has the memory.
        let plan = Plan.test(folder, [Self.worker("sleep 1000 & echo $! > \(folder.path)/engine; wait")])
        try await RunningSupervisor.run(plan, options: options) { running in
            try await running.becomesReady()
            let pid = try #require(running.pids(of: "worker").first)
            let file = "\(folder.path)/engine"
            try await eventually("the engine runs") { FileManager.default.fileExists(atPath: file) }
            try await eventually("its number is written") {
                try !String(contentsOfFile: file, encoding: .utf8).isEmpty
            }
            let engine = try String(contentsOfFile: file, encoding: .utf8).trimmed
            try tool.say("\(engine), 20480, GPU-8f3c\n1, 5, GPU-8f3c\n")
            kill(pid, SIGKILL)
            try await eventually(within: .seconds(30), "ended") {
                running.notices.withLock { $0.contains { if case .exited = $0 { true } else { false } } }
            }
            // Longer than the delay of its restarts: it waits for the memory.
            try await Task.sleep(for: .milliseconds(1500))
            #expect(running.pids(of: "worker").count == 1)
            #expect(kill(pid_t(engine) ?? 0, 0) != 0, "it has ended, and only the driver has not")
            try tool.say("1, 5, GPU-8f3c\n")
            try await eventually(within: .seconds(30), "started again") { running.pids(of: "worker").count == 2 }
            #expect(running.warnings.isEmpty, "\(running.warnings)")
        }
    }

    @Test func `who does not give it back in time is named, and it is started all the same`() async throws {
        let tool = Tool()
        let folder = ScratchFolder()
        let options = SupervisorOptions(gpuTool: try tool.make(), gpuMemoryLimit: .seconds(1))
        let plan = Plan.test(folder, [Self.worker("exec sleep 1000")])
        try await RunningSupervisor.run(plan, options: options) { running in
            try await running.becomesReady()
            let pid = try #require(running.pids(of: "worker").first)
            try tool.say("\(pid), 20480, GPU-8f3c\n")
            kill(pid, SIGKILL)
            try await eventually(within: .seconds(30), "started again") { running.pids(of: "worker").count == 2 }
            #expect(
                running.warnings == [
                    "worker has ended, and memory of GPUs is still held: a process that has ended (pid \(pid)): 20480 MiB of GPU-8f3c; "
                        + "it is started all the same"
                ]
            )
            try tool.say("")
        }
    }

    @Test func `a tool that fails is said, and holds nothing up`() async throws {
        let folder = ScratchFolder()
        let broken = "\(folder.path)/nvidia-smi"
        try "#!/bin/sh\nexit 9\n".write(toFile: broken, atomically: true, encoding: .utf8)
        chmod(broken, 0o755)
        let tool = try #require(GPUTool(environment: ["PATH": "\(folder.path):/usr/bin:/bin"]))
        let options = SupervisorOptions(gpuTool: tool, gpuMemoryLimit: .seconds(60))
        let plan = Plan.test(folder, [Self.worker("exec sleep 1000")])
        try await RunningSupervisor.run(plan, options: options) { running in
            try await running.becomesReady()
            kill(try #require(running.pids(of: "worker").first), SIGKILL)
            try await eventually(within: .seconds(30), "started again") { running.pids(of: "worker").count == 2 }
            #expect(running.warnings.first?.hasPrefix("nvidia-smi does not answer") == true)
        }
    }

    @Test func `survivors are named with what they hold`() {
        var survivor = Survivor(replica: "worker", pid: 12, command: "python3 -m dynamo.vllm")
        #expect(survivor.description == "worker (pid 12: python3 -m dynamo.vllm)")
        survivor.gpuMemory = 20480
        #expect(
            survivor.description
                == "worker (pid 12: python3 -m dynamo.vllm), which holds 20480 MiB of GPU memory"
        )
    }
}
