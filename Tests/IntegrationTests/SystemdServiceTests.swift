import Foundation
import TestSupport
import Testing

/// Generated units under a real systemd.
@Suite(.serialized) struct SystemdServiceTests {
    private static let embedded = "dynamo-launch-embedded.service"

    /// A deployment whose first process takes five seconds, and needs a secret, to become ready.
    private static func slow(_ port: Int) -> String {
        """
        name: slow
        model: echo
        http: {port: \(port)}
        processes:
          loader:
            role: infrastructure
            command: [/bin/sh, -c, 'sleep 5; test "$$MY_TOKEN" = hunter2 && touch /run/loaded; exec sleep 1000']
            env: {MY_TOKEN: "${MY_TOKEN}"}
            probes: {health: {exec: [test, -e, /run/loaded]}}
          frontend:
            builtin: frontend
          worker:
            builtin: worker
            args: [--engine, echo, --model-name, echo]

        """
    }

    private func install(_ machine: SystemdMachine) async throws {
        try await machine.check(
            Launcher.path,
            "generate",
            "systemd",
            "--install",
            "--set",
            "http.port=\(machine.port)"
        )
    }

    @Test func `start returns when a request was answered, stop leaves nothing`() async throws {
        try await withSystemd { machine in
            let said = try await machine.check(
                Launcher.path,
                "generate",
                "systemd",
                "--install",
                "--set",
                "http.port=\(machine.port)"
            )
            #expect(said.contains("wrote /etc/systemd/system/\(Self.embedded)"))
            #expect(said.contains("systemctl enable --now \(Self.embedded)"))
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "start", Self.embedded)
            let reply = try await HTTPRequests.post(
                "http://127.0.0.1:\(machine.port)/v1/chat/completions",
                json: #"{"model":"echo","messages":[{"role":"user","content":"Hello"}],"max_tokens":4}"#
            )
            #expect(reply.status == 200)

            let status = try await machine.check("systemctl", "status", "--no-pager", Self.embedded)
            #expect(status.contains(#"Status: "ready: http://127.0.0.1:\#(machine.port)""#), "\(status)")
            let own = try await machine.check("env", "XDG_RUNTIME_DIR=/run", Launcher.path, "status")
            #expect(own.contains("ready"), "\(own)")
            // What systemd says to the launcher, its processes do not hear.
            let worker = try #require(try await machine.processes("debug/dynamo-worker").first)
            let variables = try await machine.check("cat", "/proc/\(worker)/environ")
            #expect(!variables.contains("NOTIFY_SOCKET") && !variables.contains("WATCHDOG"), "\(variables)")

            try await machine.check("systemctl", "stop", Self.embedded)
            #expect(try await machine.property("Result", of: Self.embedded) == "success")
            // The group of the processes goes when the last of them was reaped.
            try await eventually("nothing is left in the unit") {
                try await machine.property("ControlGroup", of: Self.embedded).isEmpty
            }
            #expect(try await machine.processes("debug/dynamo-").isEmpty)

            let removed = try await machine.check(Launcher.path, "generate", "systemd", "--uninstall")
            #expect(removed.contains("removed /etc/systemd/system/\(Self.embedded)"))
            let again = try await machine.run(Launcher.path, "generate", "systemd", "--uninstall")
            #expect(again.exit == .code(1) && again.output.contains("nothing to remove"), "\(again.output)")
        }
    }

    @Test
    func `a slow start says how far it is and gets the time that the manifest gives, with its secret from a file`()
        async throws
    {
        try await withSystemd { machine in
            let unit = "dynamo-launch-slow.service"
            try await machine.write(Self.slow(machine.port), to: "/srv/slow.yaml")
            try await machine.write("hunter2\n", to: "/etc/dynamo-launch/slow/MY_TOKEN")
            let said = try await machine.check(
                "env",
                "MY_TOKEN=x",
                Launcher.path,
                "generate",
                "systemd",
                "--install",
                "/srv/slow.yaml"
            )
            #expect(said.contains("put the value of MY_TOKEN into /etc/dynamo-launch/slow/MY_TOKEN"))
            // Far less than the start takes: only the launcher's own words can get it more.
            try await machine.dropIn("TimeoutStartSec=3s", of: unit)
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "start", "--no-block", unit)
            try await eventually("the status names the process that is late") {
                try await machine.property("StatusText", of: unit).hasPrefix("0 of 3 ready: loader coming up, ")
            }
            #expect(try await machine.property("ActiveState", of: unit) == "activating")
            try await eventually(within: .seconds(20), "the service is up") {
                try await machine.property("ActiveState", of: unit) != "activating"
            }
            #expect(try await machine.property("ActiveState", of: unit) == "active")
            #expect(try await machine.property("NRestarts", of: unit) == "0")
        }
    }

    @Test func `a launcher that is stuck is restarted by the watchdog, and the deployment serves again`() async throws {
        try await withSystemd { machine in
            try await self.install(machine)
            try await machine.dropIn("WatchdogSec=2s", "TimeoutAbortSec=1s", "RestartSec=100ms", of: Self.embedded)
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "start", Self.embedded)
            // One that is not stuck is left alone.
            try await Task.sleep(for: .seconds(3))
            #expect(try await machine.property("NRestarts", of: Self.embedded) == "0")
            let launcher = try await machine.property("MainPID", of: Self.embedded)
            try await machine.check("kill", "-STOP", launcher)
            try await eventually(within: .seconds(20), "another launcher serves") {
                let state = try await machine.property("ActiveState", of: Self.embedded)
                let main = try await machine.property("MainPID", of: Self.embedded)
                return state == "active" && main != launcher
            }
            #expect(try await HTTPRequests.get("http://127.0.0.1:\(machine.port)/v1/models").status == 200)
            #expect(try await machine.property("NRestarts", of: Self.embedded) == "1")
            #expect(try await machine.journal(of: Self.embedded).contains("Watchdog timeout"))
            #expect(try await machine.processes("debug/dynamo-worker").count == 1)
        }
    }

    @Test func `a deployment that cannot start says why in the status and the journal`() async throws {
        try await withSystemd { machine in
            let unit = "dynamo-launch-broken.service"
            let manifest = """
                name: broken
                http: {port: \(machine.port)}
                processes:
                  frontend: {builtin: frontend}
                  engine:
                    role: worker
                    command: [/bin/sh, -c, 'echo no model here; exit 3']
                    restart: never

                """
            try await machine.write(manifest, to: "/srv/broken.yaml")
            try await machine.check(Launcher.path, "generate", "systemd", "--install", "/srv/broken.yaml")
            try await machine.dropIn("Restart=no", of: unit)
            try await machine.check("systemctl", "daemon-reload")
            #expect(try await machine.run("systemctl", "start", unit).exit == .code(1))
            let status = try await machine.property("StatusText", of: unit)
            #expect(status.contains("engine") && status.contains("exit"), "\(status)")
            #expect(try await machine.property("ActiveState", of: unit) == "failed")
            #expect(try await machine.property("ExecMainStatus", of: unit) == "1")
            let journal = try await machine.journal(of: unit)
            #expect(journal.contains("no model here") && journal.contains("error: "), "\(journal)")
        }
    }

    @Test func `a secret that is not there is said in the status`() async throws {
        try await withSystemd { machine in
            let unit = "dynamo-launch-slow.service"
            try await machine.write(Self.slow(machine.port), to: "/srv/slow.yaml")
            let refused = try await machine.run(Launcher.path, "generate", "systemd", "/srv/slow.yaml")
            #expect(refused.exit == .code(1) && refused.output.contains("slow.yaml:8:21: error:"), "\(refused.output)")
            try await machine.check(
                "env",
                "MY_TOKEN=x",
                Launcher.path,
                "generate",
                "systemd",
                "--install",
                "/srv/slow.yaml"
            )
            try await machine.dropIn("LoadCredential=", "Restart=no", of: unit)
            try await machine.check("systemctl", "daemon-reload")
            #expect(try await machine.run("systemctl", "start", unit).exit == .code(1))
            let status = try await machine.property("StatusText", of: unit)
            #expect(status == "nothing was started: the journal has the manifest's errors")
            #expect(try await machine.journal(of: unit).contains("the variable 'MY_TOKEN' is not set"))
        }
    }

    @Test func `a socket of a unit is passed on, and one in the descriptor store comes back after a restart`()
        async throws
    {
        try await withSystemd { machine in
            let subject = TestEnvironment.products.appending(path: "systemd-subject").path()
            let folder = "/etc/systemd/system"
            try await machine.write(
                "[Socket]\nListenStream=127.0.0.1:\(machine.port)\nFileDescriptorName=public\n",
                to: "\(folder)/hold.socket"
            )
            try await machine.write(
                "[Service]\nType=notify\nExecStart=\(subject) hold\nFileDescriptorStoreMax=4\n",
                to: "\(folder)/hold.service"
            )
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "start", "hold.socket", "hold.service")
            let address = "127.0.0.1:\(machine.port)"
            #expect(try await machine.property("StatusText", of: "hold.service") == "holding 1")
            try await machine.check("systemctl", "restart", "hold.service")
            try await eventually("the journal has both starts") {
                try await machine.journal(of: "hold.service").contains("holds kept")
            }
            let lines = try await machine.journal(of: "hold.service").split(separator: "\n").filter {
                $0.hasPrefix("holds")
            }
            #expect(lines == ["holds public (\(address))", "holds kept (\(address)), public (\(address))"])
        }
    }

    @Test(arguments: [("root", 35), ("daemon", 30)])
    func `systemd finds nothing wrong with the units, and little exposed`(account: String, bound: Int) async throws {
        try await withTemporaryDirectory { directory in
            let written = try await Launcher.run(
                ["generate", "systemd", "--slice", "--run-as", account, "--output", directory.path()],
                workingDirectory: "/"
            )
            #expect(written.exit == .code(0), "\(written.output)")
            let unit = directory.appending(path: Self.embedded).path()
            let verified = try await Self.analyze(
                "verify",
                unit,
                directory.appending(path: "dynamo-launch.slice").path()
            )
            #expect(verified.exit == .code(0) && verified.output.isEmpty, "\(verified.output)")
            let rated = try await Self.analyze("security", "--offline=true", "--no-pager", "--threshold=\(bound)", unit)
            #expect(rated.exit == .code(0), "\(rated.output)")
        }
    }

    @Test func `a user's units are accepted by a user's service manager`() async throws {
        try await withTemporaryDirectory { directory in
            let written = try await Launcher.run(
                ["generate", "systemd", "--user", "--output", directory.path()],
                workingDirectory: "/"
            )
            #expect(written.output.contains("systemctl --user enable --now \(Self.embedded)"), "\(written.output)")
            let unit = directory.appending(path: Self.embedded).path()
            let verified = try await Self.analyze("--user", "verify", unit, runtime: directory.path())
            #expect(verified.exit == .code(0) && verified.output.isEmpty, "\(verified.output)")
        }
    }

    private static func analyze(
        _ arguments: String...,
        runtime: String? = nil
    ) async throws -> (output: String, exit: ProgramExit) {
        let (output, exit) = try await withProgram(
            "/usr/bin/systemd-analyze",
            arguments,
            environment: ["XDG_RUNTIME_DIR": runtime, "SYSTEMD_COLORS": "0"]
        ) { program in
            try await program.waitForExit()
            return program.output
        }
        return (output, exit)
    }
}
