import Testing

@testable import Deployment

/// Devices, with what is known of the machine and of other deployments.
@Suite struct GPUAllocationTests {
    private static func plan(
        _ processes: String,
        _ devices: DeviceFacts,
        visible: String? = nil,
        top: String = ""
    ) throws -> Plan {
        var planned = ManifestCase("name: demo\n\(top)processes:\n\(processes)")
        planned.environment["CUDA_VISIBLE_DEVICES"] = visible
        var facts = planned.facts
        facts.devices = devices
        return try Planner.plan(planned.manifest(), facts: facts)
    }

    private static func errors(_ body: () throws -> Plan) -> String {
        do {
            _ = try body()
            return ""
        } catch { return "\(error)" }
    }

    private static let one = "  w: {builtin: worker, gpus: 1, replicas: 2}\n"

    @Test func `devices that others hold are passed over`() throws {
        let facts = DeviceFacts(known: ["0", "1", "2", "3"], taken: ["0": "them", "2": "them"], isBinding: true)
        #expect(try Self.plan(Self.one, facts).replicas.map(\.gpus) == [["1"], ["3"]])
        // Where the number of devices is not known, too.
        let unknown = DeviceFacts(taken: ["1": "them"], isBinding: true)
        #expect(try Self.plan(Self.one, unknown).replicas.map(\.gpus) == [["0"], ["2"]])
    }

    @Test func `what a replica was given stays`() throws {
        let facts = DeviceFacts(known: ["0", "1", "2", "3"], given: ["w-0": ["3"], "w-1": ["2"]], isBinding: true)
        #expect(try Self.plan(Self.one, facts).replicas.map(\.gpus) == [["3"], ["2"]])
        let more = try Self.plan(Self.one.replacing("replicas: 2", with: "replicas: 3"), facts)
        #expect(more.replicas.map(\.gpus) == [["3"], ["2"], ["0"]])
        // But not where the number of devices is another one.
        let two = try Self.plan("  w: {builtin: worker, gpus: 2}\n", facts)
        #expect(two.replicas.map(\.gpus) == [["0", "1"]])
    }

    @Test func `what another process was given is not given away`() throws {
        let facts = DeviceFacts(known: ["0", "1", "2"], given: ["a-0": ["0"], "b-0": ["1"]], isBinding: true)
        let two = "  a: {builtin: worker, gpus: 1, replicas: 2}\n  b: {builtin: worker, gpus: 1}\n"
        #expect(try Self.plan(two, facts).replicas.map(\.gpus) == [["0"], ["2"], ["1"]])
    }

    @Test func `too few devices are an error before the start, and a note of what is only shown`() throws {
        var facts = DeviceFacts(
            known: ["0", "1"],
            taken: ["1": "deployment 'chat' (pid 812, user ada)"],
            isBinding: true
        )
        let error = Self.errors { try Self.plan(Self.one, facts) }
        #expect(
            error.contains(
                "test.yaml:3:30: error: process 'w' wants 2 GPUs, and 1 of them cannot be had: this machine has 2, 0 used by this "
                    + "deployment, 1 held by deployment 'chat' (pid 812, user ada)"
            ),
            "\(error)"
        )
        #expect(error.contains("gpuSharing: shared"))
        facts.isBinding = false
        let plan = try Self.plan(Self.one, facts)
        #expect(plan.notes.count == 1)
        #expect(plan.notes.first?.contains("1 of them cannot be had") == true)
        #expect(plan.replicas.map(\.gpus) == [["0"], ["1"]])
        let none = Self.errors { try Self.plan(Self.one, DeviceFacts(known: [], isBinding: true)) }
        #expect(none.contains("wants 2 GPUs, and 2 of them cannot be had: this machine has none"), "\(none)")
    }

    @Test func `a named device that is not there, or another's, is an error`() throws {
        let named = "  w: {builtin: worker, gpus: [0, 7, GPU-8f3c]}\n"
        let facts = DeviceFacts(
            known: ["0", "1"],
            taken: ["0": "deployment 'chat' (pid 812, user ada)", "GPU-8f3c": "deployment 'b' (pid 9, user bo)"],
            isBinding: true
        )
        let error = Self.errors { try Self.plan(named, facts) }
        #expect(error.contains("GPU 0 of process 'w' is held by deployment 'chat' (pid 812, user ada)"), "\(error)")
        #expect(error.contains("process 'w' wants GPU 7, and this machine has 2 GPUs (0, 1)"), "\(error)")
        #expect(error.contains("GPU GPU-8f3c of process 'w' is held by deployment 'b' (pid 9, user bo)"), "\(error)")
    }

    @Test func `indexes count in the list that the caller's environment allows`() throws {
        let two = "  v: {builtin: worker, gpus: [1]}\n  w: {builtin: worker, gpus: 1}\n"
        let plan = try Self.plan(two, DeviceFacts(known: ["0", "1", "2", "3"], isBinding: true), visible: "2, 3")
        #expect(plan.replicas.map(\.gpus) == [["3"], ["2"]])
        let variables = plan.replicas.map { replica in
            replica.environment.first { $0.name == "CUDA_VISIBLE_DEVICES" }?.value
        }
        #expect(variables == ["3", "2"])
        let identifiers = try Self.plan(two, DeviceFacts(), visible: "GPU-a,MIG-b,-1,GPU-c")
        #expect(identifiers.replicas.map(\.gpus) == [["MIG-b"], ["GPU-a"]])
        let outside = Self.errors { try Self.plan(two, DeviceFacts(), visible: "2") }
        #expect(
            outside.contains("process 'v' wants GPU 1, and CUDA_VISIBLE_DEVICES of the caller has 1 GPU (2)"),
            "\(outside)"
        )
        // Unless the manifest has taken that into account.
        let own = try Self.plan(
            "  w: {builtin: worker, gpus: [\"${CUDA_VISIBLE_DEVICES:-0}\"]}\n",
            DeviceFacts(),
            visible: "2"
        )
        #expect(own.replicas.map(\.gpus) == [["2"]])
        let hidden = Self.errors { try Self.plan(Self.one, DeviceFacts(isBinding: true), visible: "") }
        #expect(hidden.contains("CUDA_VISIBLE_DEVICES of the caller has none"), "\(hidden)")
    }

    @Test func `an index and an identifier of one device are the same device`() throws {
        var facts = DeviceFacts(known: ["0", "1"], identifiers: ["0": "GPU-aa-1", "1": "GPU-bb-2"], isBinding: true)
        // What is named is not given out once more by a count, nor by the list of the caller's environment.
        let mixed = "  v: {builtin: worker, gpus: [GPU-aa]}\n  w: {builtin: worker, gpus: 1}\n"
        #expect(try Self.plan(mixed, facts).replicas.map(\.gpus) == [["GPU-aa"], ["1"]])
        let two = "  w: {builtin: worker, gpus: 1, replicas: 2}\n"
        #expect(try Self.plan(two, facts, visible: "0,GPU-bb-2").replicas.map(\.gpus) == [["0"], ["GPU-bb-2"]])
        let again = Self.errors { try Self.plan(two, facts, visible: "0,GPU-aa-1") }
        #expect(again.contains("process 'w' wants 2 GPUs, and 1 of them cannot be had"), "\(again)")
        let twice = Self.errors { try Self.plan("  w: {builtin: worker, gpus: [0, GPU-aa-1]}\n", facts) }
        #expect(twice.contains("process 'w' names one GPU twice: 0 is GPU-aa-1\n"), "\(twice)")
        let missing = Self.errors { try Self.plan("  w: {builtin: worker, gpus: [GPU-cc]}\n", facts) }
        #expect(missing.contains("wants GPU GPU-cc, and this machine has 2 GPUs (GPU-aa-1, GPU-bb-2)"), "\(missing)")
        // A part of a device is not in the tool's list.
        #expect(try Self.plan("  w: {builtin: worker, gpus: [MIG-cc]}\n", facts).replicas.map(\.gpus) == [["MIG-cc"]])
        facts.taken = ["0": "deployment 'chat' (pid 812, user ada)"]
        #expect(try Self.plan(Self.single, facts, visible: "GPU-aa-1,GPU-bb-2").replicas.map(\.gpus) == [["GPU-bb-2"]])
    }

    @Test func `a generation beside another one gets other devices where there are any`() throws {
        var facts = DeviceFacts(
            known: ["0", "1", "2"],
            identifiers: ["0": "GPU-a", "1": "GPU-b", "2": "GPU-c"],
            inUse: ["0", "GPU-b"],
            isBinding: true
        )
        #expect(try Self.plan(Self.single, facts).replicas.map(\.gpus) == [["2"]])
        // The migration says then which device both want, and what to do.
        #expect(try Self.plan(Self.one, facts).replicas.map(\.gpus) == [["2"], ["0"]])
        // Where it is not known whether there are others, too.
        facts = DeviceFacts(inUse: ["0"], isBinding: true)
        #expect(try Self.plan(Self.single, facts).replicas.map(\.gpus) == [["0"]])
    }

    private static let single = "  w: {builtin: worker, gpus: 1}\n"

    @Test func `the manifest says whether it shares`() throws {
        let plan = try Self.plan(Self.one, DeviceFacts(), top: "gpuSharing: shared\n")
        #expect(plan.gpuSharing == .shared)
        #expect(plan.rendered().contains("gpus      0 (shared)\n"))
        #expect(try Self.plan(Self.one, DeviceFacts()).gpuSharing == .exclusive)
        let wrong = Self.errors { try Self.plan(Self.one, DeviceFacts(), top: "gpuSharing: share\n") }
        #expect(wrong.contains("'gpuSharing'") && wrong.contains("shared"), "\(wrong)")
    }
}
