import Foundation
import Glibc
import TestSupport
import Testing

@testable import Supervisor

/// Devices that launchers of the machine hold.
@Suite(.serialized) struct DeviceLeasesTests {
    /// Devices of this test only: other tests may run at the same time.
    private static func device(_ name: String) -> String { "GPU-\(name)-\(getpid())" }

    /// Another process that holds a device as a launcher does.
    private static func launcher(_ device: String, isShared: Bool) async throws -> Stranger {
        let name = "dynamo-launch/gpu/\(isShared ? "s" : "e")/"
        let code = """
            import os, socket, time
            s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            s.bind("\\0\(name)%d/%d/beef1/chat/\(device)" % (os.getpid(), os.getuid()))
            time.sleep(1000)
            """
        let stranger = try Stranger(["/usr/bin/python3", "-c", code])
        try await eventually(within: .seconds(30), "the device is held") {
            DeviceLeases.others().contains { $0.device == device }
        }
        return stranger
    }

    @Test func `one that another launcher holds cannot be had, and its end gives it back`() async throws {
        let device = Self.device("a")
        let leases = DeviceLeases(deployment: "demo")
        do {
            let other = try await Self.launcher(device, isShared: false)
            let error = await #expect(throws: DeviceLeases.Failure.self) {
                try await leases.take([device], isShared: false)
            }
            #expect(
                error?.description
                    == "GPU \(device) is held by deployment 'chat' (pid \(other.pid), user \(UserName.of(getuid())))"
            )
            // Who shares cannot have it either.
            await #expect(throws: DeviceLeases.Failure.self) { try await leases.take([device], isShared: true) }
            withExtendedLifetime(other) {}
        }
        try await eventually(within: .seconds(30), "given back") {
            !DeviceLeases.others().contains { $0.device == device }
        }
        try await leases.take([device], isShared: false)
    }

    @Test func `those that share may have it together`() async throws {
        let device = Self.device("b")
        let other = try await Self.launcher(device, isShared: true)
        let leases = DeviceLeases(deployment: "demo")
        try await leases.take([device], isShared: true)
        await #expect(throws: DeviceLeases.Failure.self) { try await leases.take([device], isShared: false) }
        withExtendedLifetime(other) {}
    }

    @Test func `generations of one launcher do not exclude each other, and what is not kept is free`() async throws {
        let device = Self.device("c")
        let (first, second) = (DeviceLeases(deployment: "demo"), DeviceLeases(deployment: "demo"))
        try await first.take([device], isShared: false)
        try await second.take([device], isShared: false)
        try await first.take([device], isShared: true)
        func held() -> [DeviceLeases.Holder] {
            DeviceLeases.holders(in: ProcessTable.read("/proc/net/unix") ?? []).filter { $0.device == device }
        }
        #expect(held().map(\.isShared).sorted { !$0 && $1 } == [false, true])
        first.keep([])
        #expect(held().map(\.isShared) == [false])
        second.release()
        #expect(held().isEmpty)
    }

    @Test func `what a launcher before this one has leased is this one's, and of a dead one the remedy is said`()
        async throws
    {
        let device = Self.device("d")
        let dead = try Stranger(["/bin/true"]).pid
        try await eventually("it is gone") { kill(dead, 0) != 0 }
        let old = try #require(AbstractName.bind("dynamo-launch/gpu/e/\(dead)/\(getuid())/beef2/chat/\(device)"))
        let leases = DeviceLeases(deployment: "demo")
        let error = await #expect(throws: DeviceLeases.Failure.self) {
            try await leases.take([device], isShared: false)
        }
        #expect(
            error?.description.hasSuffix(
                "), whose launcher is gone and whose processes go on ('dynamo-launch up MANIFEST' adopts them, 'dynamo-launch stop chat' ends them)"
            ) == true,
            "\(error?.description ?? "")"
        )
        leases.adopt([old])
        #expect(leases.devices == [device])
        #expect(!DeviceLeases.others().contains { $0.device == device })
        close(old)
        try await leases.take([device], isShared: false)
        let copies = leases.copies(of: [device, "another"])
        #expect(copies.count == 1)
        for copy in copies { close(copy) }
        func held() -> Bool { (ProcessTable.read("/proc/net/unix") ?? []).firstRange(of: Array(device.utf8)) != nil }
        #expect(held())
        leases.release()
        #expect(!held())
    }

    @Test func `the remedy is for whoever can do it`() {
        let mine = getuid()
        func remedy(_ name: String, _ user: UInt32) -> String {
            var holder = DeviceLeases.Holder(
                device: "0",
                deployment: name,
                pid: 1,
                user: user,
                isShared: false,
                token: "beef1"
            )
            holder.isOrphaned = true
            return String(holder.words.split(separator: " (").last ?? "")
        }
        #expect(
            remedy("chat", mine)
                == "'dynamo-launch up MANIFEST' adopts them, 'dynamo-launch stop chat' ends them)"
        )
        #expect(
            remedy("chat", 54321)
                == "as user 54321, 'dynamo-launch up MANIFEST' adopts them, 'dynamo-launch stop chat' ends them)"
        )
        // No command takes a part of a name.
        #expect(remedy("long-na~", mine).hasSuffix(", 'dynamo-launch stop' with its whole name ends them)"))
    }

    @Test func `a name that is too long is cut, and the device is whole`() async throws {
        let device = "MIG-GPU-\(getpid())-1234-1234-123456789012/11/12"
        let leases = DeviceLeases(deployment: String(repeating: "long-name-", count: 6))
        try await leases.take([device], isShared: false)
        let holder = DeviceLeases.holders(in: ProcessTable.read("/proc/net/unix") ?? []).first { $0.device == device }
        #expect(holder?.deployment.hasPrefix("long-name") == true)
        #expect(holder?.deployment.hasSuffix("~") == true)
    }

    @Test func `an index and an identifier meet where the machine is known`() {
        let machine = MachineDevices(
            kind: "cuda",
            devices: MachineDevices.devices(in: "0, GPU-aaaa-1\n1, GPU-bbbb-2\nnot a line\n"),
            note: nil
        )
        #expect(machine.devices?.map(\.index) == ["0", "1"])
        #expect(machine.names(of: "1") == ["cuda:1", "GPU-bbbb-2"])
        #expect(machine.names(of: "GPU-bb") == ["cuda:1", "GPU-bbbb-2"])
        #expect(machine.names(of: "GPU-x") == ["GPU-x"])
        let holder = DeviceLeases.Holder(
            device: "GPU-aaaa-1",
            deployment: "chat",
            pid: 7,
            user: 0,
            isShared: true,
            token: "t"
        )
        let taken = machine.taken([holder], isShared: false, written: ["GPU-a"])
        #expect(taken.keys.sorted() == ["0", "GPU-a", "GPU-aaaa-1"])
        #expect(machine.taken([holder], isShared: true, written: ["GPU-a"]).isEmpty)
        let unknown = MachineDevices(kind: "xpu", devices: nil, note: "no tool")
        let index = DeviceLeases.Holder(device: "xpu:3", deployment: "a", pid: 7, user: 0, isShared: false, token: "t")
        #expect(unknown.taken([index], isShared: false, written: []).keys.sorted() == ["3"])
    }

    @Test func `what nvidia-smi counts is what there is`() async throws {
        try await withTemporaryDirectory { directory in
            func survey(_ script: String) async throws -> MachineDevices {
                let tool = directory.appending(path: "nvidia-smi")
                try "#!/bin/sh\n\(script)\n".write(to: tool, atomically: true, encoding: .utf8)
                chmod(tool.path(), 0o755)
                return await MachineDevices.survey("cuda", environment: ["PATH": "\(directory.path()):/usr/bin:/bin"])
            }
            #expect(try await survey("echo '0, GPU-a'; echo '1, GPU-b'").devices?.count == 2)
            let broken = try await survey("echo driver mismatch >&2; exit 9")
            #expect(broken.devices == nil)
            #expect(broken.note?.contains("nvidia-smi failed (exit code 9)") == true)
            let xpu = await MachineDevices.survey("xpu", environment: ["PATH": directory.path()])
            #expect(xpu.devices == nil && xpu.note?.contains("no xpu-smi on PATH") == true)
        }
    }
}
