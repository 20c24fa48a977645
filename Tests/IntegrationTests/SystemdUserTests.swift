import Foundation
import TestSupport
import Testing

/// Services of several accounts, and of a user's own service manager, under a real systemd.
@Suite(.serialized) struct SystemdUserTests {
    private static let unit = "dynamo-launch-embedded.service"

    /// A user with a service manager, as a login would start it.
    private struct User {
        static let name = "tester"
        static let id = 4242
        let machine: SystemdMachine
        /// Where the programs are: a place that every account may enter.
        let launcher = "/srv/programs/dynamo-launch"

        /// Makes the account and starts its manager.
        init(on machine: SystemdMachine) async throws {
            self.machine = machine
            try await machine.check("useradd", "--create-home", "--uid", "\(Self.id)", Self.name)
            try await machine.shareProgramsWithAll()
            try await machine.check("mkdir", "-p", "/run/user")
            let runtime = "/run/user/\(Self.id)"
            try await machine.check("install", "-d", "-o", Self.name, "-g", Self.name, "-m", "700", runtime)
            try await machine.check(
                "systemd-run",
                "--quiet",
                "--unit=tester-manager",
                "--property=User=\(Self.name)",
                "--property=Delegate=yes",
                "--property=Type=notify",
                "--setenv=XDG_RUNTIME_DIR=\(runtime)",
                "/lib/systemd/systemd",
                "--user"
            )
        }

        @discardableResult
        func check(_ command: String...) async throws -> String {
            let account = ["setpriv", "--reuid=\(Self.id)", "--regid=\(Self.id)", "--init-groups", "--inh-caps=-all"]
            let variables = ["env", "HOME=/home/\(Self.name)", "XDG_RUNTIME_DIR=/run/user/\(Self.id)"]
            return try await self.machine.check(account + variables + command)
        }

        func property(_ name: String, of unit: String) async throws -> String {
            try await self.check("systemctl", "--user", "show", "--property", name, "--value", unit)
        }
    }

    @Test func `a user's service manager starts, watches and stops a deployment, and nothing is left`() async throws {
        try await withSystemd { machine in
            let user = try await User(on: machine)
            let port = "http.port=\(machine.port)"
            let said = try await user.check(user.launcher, "generate", "systemd", "--user", "--install", "--set", port)
            let folder = "/home/tester/.config/systemd/user"
            #expect(said.contains("wrote \(folder)/\(Self.unit)"), "\(said)")
            #expect(try await user.check("systemd-analyze", "--user", "verify", "\(folder)/\(Self.unit)").isEmpty)
            try await user.check("systemctl", "--user", "daemon-reload")
            try await user.check("systemctl", "--user", "enable", "--now", Self.unit)
            #expect(try await HTTPRequests.get("http://127.0.0.1:\(machine.port)/v1/models").status == 200)
            #expect(try await user.property("StatusText", of: Self.unit) == "ready: http://127.0.0.1:\(machine.port)")
            #expect(try await user.check(user.launcher, "status").contains("embedded: ready, 2 of 2 ready"))
            let owner = try await machine.check("ps", "-o", "user=", "-C", "dynamo-worker")
            #expect(owner == User.name)
            let entries = try await machine.check(
                "journalctl",
                "--output=cat",
                "DYNAMO_DEPLOYMENT=embedded",
                "_UID=\(User.id)"
            )
            #expect(entries.split(separator: "\n").count { $0.hasPrefix("ready in ") } == 1, "\(entries)")

            // What the user's manager says to the launcher, its processes do not hear; the rest of it they have.
            let worker = try #require(try await machine.processes("programs/dynamo-worker").first)
            let variables = try await machine.check("cat", "/proc/\(worker)/environ")
            for name in ["NOTIFY_SOCKET=", "WATCHDOG_", "LISTEN_", "JOURNAL_STREAM=", "MANAGERPID="] {
                #expect(!variables.contains(name), "\(name) in \(variables)")
            }
            #expect(variables.contains("HOME=/home/tester"))

            let launcher = try await user.property("MainPID", of: Self.unit)
            try await machine.check("kill", "-KILL", launcher)
            try await eventually(within: .seconds(20), "it was started again") {
                let main = try await user.property("MainPID", of: Self.unit)
                let state = try await user.property("ActiveState", of: Self.unit)
                return main != launcher && state == "active"
            }
            try await user.check("systemctl", "--user", "stop", Self.unit)
            #expect(try await user.property("Result", of: Self.unit) == "success")
            try await eventually("nothing is left in the unit") {
                try await user.property("ControlGroup", of: Self.unit).isEmpty
            }
            #expect(try await machine.processes("programs/dynamo-").isEmpty)
            try await user.check("systemctl", "--user", "disable", Self.unit)
            let removed = try await user.check(user.launcher, "generate", "systemd", "--user", "--uninstall")
            #expect(removed.contains("removed \(folder)/\(Self.unit)"))
            #expect(try await user.check("find", folder, "-name", "dynamo-launch*").isEmpty)
        }
    }

    @Test func `services of two accounts run at the same time, and end without the other's`() async throws {
        try await withSystemd { machine in
            let second = try freePort()
            try await machine.shareProgramsWithAll()
            for (name, account, port) in [("one", "daemon", machine.port), ("two", "games", second)] {
                let manifest = """
                    name: \(name)
                    http: {host: 127.0.0.1, port: \(port)}
                    processes:
                      frontend: {builtin: frontend}
                      worker: {builtin: worker, args: [--engine, mock]}

                    """
                try await machine.write(manifest, to: "/srv/\(name).yaml")
                try await machine.check(
                    "/srv/programs/dynamo-launch",
                    "generate",
                    "systemd",
                    "--install",
                    "--run-as",
                    account,
                    "/srv/\(name).yaml"
                )
            }
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "start", "dynamo-launch-one.service")
            try await machine.check("systemctl", "start", "dynamo-launch-two.service")
            let owners = try await machine.check(
                "stat",
                "--format=%U %a",
                "/run/dynamo-launch/one",
                "/run/dynamo-launch/two"
            )
            #expect(owners == "daemon 700\ngames 700")
            for name in ["one", "two"] {
                let status = try await machine.check(
                    "env",
                    "XDG_RUNTIME_DIR=/run",
                    "/srv/programs/dynamo-launch",
                    "status",
                    name
                )
                #expect(status.contains("\(name): ready, 2 of 2 ready"), "\(status)")
                #expect(try await machine.check("ls", "/var/lib/dynamo-launch/\(name)/logs").contains("worker.log"))
            }
            // Started again, the first finds its folder as it left it, and the second is not disturbed.
            try await machine.check("systemctl", "restart", "dynamo-launch-one.service")
            #expect(try await HTTPRequests.get("http://127.0.0.1:\(second)/v1/models").status == 200)
            #expect(try await machine.property("NRestarts", of: "dynamo-launch-two.service") == "0")
            try await machine.check("systemctl", "stop", "dynamo-launch-one.service")
            #expect(try await machine.check("ls", "/run/dynamo-launch") == "two")
            #expect(try await HTTPRequests.get("http://127.0.0.1:\(second)/v1/models").status == 200)
        }
    }
}
