import Foundation
import TestSupport
import Testing

/// `systemctl reload` under a real systemd.
@Suite(.serialized) struct SystemdReloadTests {
    private static let unit = "dynamo-launch-chat.service"

    private static func manifest(_ port: Int, worker: String) -> String {
        """
        name: chat
        model: echo
        http: {port: \(port)}
        processes:
          frontend: {builtin: frontend}
          worker:
            builtin: worker
            args: \(worker)

        """
    }

    private static let echo = "[--engine, echo, --model-name, echo]"

    @Test func `reload applies the manifest as it is now, and fails with everything as before when that is bad`()
        async throws
    {
        try await withSystemd { machine in
            func write(_ worker: String) async throws {
                try await machine.write(Self.manifest(machine.port, worker: worker), to: "/srv/chat.yaml")
            }
            try await write(Self.echo)
            try await machine.check(Launcher.path, "generate", "systemd", "--install", "/srv/chat.yaml")
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "start", Self.unit)
            let launcher = try await machine.property("MainPID", of: Self.unit)
            let frontend = try await machine.processes("debug/dynamo-frontend")
            let worker = try await machine.processes("debug/dynamo-worker")

            try await write("[--engine, echo, --model-name, echo, --rate, 1000]")
            try await machine.check("systemctl", "reload", Self.unit)
            #expect(try await machine.processes("dynamo-worker.*--rate 1000").count == 1)
            #expect(try await machine.processes("debug/dynamo-worker") != worker)
            #expect(try await machine.processes("debug/dynamo-frontend") == frontend, "it did not change")
            #expect(try await machine.property("ActiveState", of: Self.unit) == "active")
            #expect(try await machine.property("StatusText", of: Self.unit).hasPrefix("ready: "))

            try await write("[--engine, echo, --model-name, echo, --rate 1000")
            let bad = try await machine.run("systemctl", "reload", Self.unit)
            #expect(bad.exit != .code(0))
            let journal = try await machine.journal(of: Self.unit)
            #expect(journal.contains("chat.yaml:") && journal.contains("nothing was changed"), "\(journal)")
            #expect(try await machine.property("ActiveState", of: Self.unit) == "active")

            // SIGHUP is a reload too, and not the end, for a service.
            try await write(Self.echo)
            try await machine.check("systemctl", "kill", "--kill-who=main", "--signal=HUP", Self.unit)
            try await eventually(within: .seconds(20), "the worker runs as before") {
                let workers = try await machine.processes("debug/dynamo-worker")
                let fast = try await machine.processes("dynamo-worker.*--rate 1000")
                return workers.count == 1 && fast.isEmpty
            }
            try await eventually(within: .seconds(20), "the reload has ended") {
                try await machine.property("StatusText", of: Self.unit).hasPrefix("ready: ")
            }
            #expect(try await machine.property("MainPID", of: Self.unit) == launcher)
            #expect(try await machine.property("NRestarts", of: Self.unit) == "0")
            #expect(try await HTTPRequests.get("http://127.0.0.1:\(machine.port)/v1/models").status == 200)
        }
    }
}
