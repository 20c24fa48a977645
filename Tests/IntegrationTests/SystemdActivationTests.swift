import Foundation
import TestSupport
import Testing

/// The public port under a real systemd: who opens it, who keeps it, and what becomes of requests meanwhile.
@Suite(.serialized) struct SystemdActivationTests {
    private static let service = "dynamo-launch-embedded.service"
    private static let socket = "dynamo-launch-embedded.socket"
    private static let path = "/v1/chat/completions"
    private static let question = #"{"model":"echo","messages":[{"role":"user","content":"Hello"}],"max_tokens":4}"#

    /// Writes the units of the embedded deployment.
    private func install(_ machine: SystemdMachine, _ options: String..., gateway: String = "true") async throws {
        let arguments = options + ["--set", "http.port=\(machine.port)", "--set", "gateway=\(gateway)"]
        let line = ([Launcher.path, "generate", "systemd", "--install"] + arguments).map { "'\($0)'" }
        try await machine.check("/bin/sh", "-c", line.joined(separator: " "))
    }

    private func ask(_ machine: SystemdMachine) async throws -> HTTPReply {
        try await HTTPRequests.post("http://127.0.0.1:\(machine.port)\(Self.path)", json: Self.question)
    }

    /// Asks over a Unix socket inside.
    private func ask(_ machine: SystemdMachine, path: String) async throws -> String {
        try await machine.check(
            "curl",
            "--silent",
            "--unix-socket",
            path,
            "--header",
            "content-type: application/json",
            "--data",
            Self.question,
            "--write-out",
            " status %{http_code}",
            "http://localhost\(Self.path)"
        )
    }

    private func waitUntilInactive(_ machine: SystemdMachine, within limit: Duration = .seconds(30)) async throws {
        try await eventually(within: limit, "the service has ended") {
            try await machine.property("ActiveState", of: Self.service) == "inactive"
        }
        #expect(try await machine.property("Result", of: Self.service) == "success")
        // systemd removes it a moment later.
        try await eventually("its control group is gone") {
            try await machine.property("ControlGroup", of: Self.service).isEmpty
        }
        #expect(try await machine.processes("debug/dynamo-").isEmpty)
        #expect(try await machine.property("SubState", of: Self.socket) == "listening")
    }

    // MARK: Activation

    @Test func `the first connection starts the deployment and is answered, over TCP and over a Unix socket`()
        async throws
    {
        try await withSystemd { machine in
            let local = "/run/local.sock"
            try await self.install(machine, "--socket")
            try await machine.write(
                "[Socket]\nListenStream=\(local)\n",
                to: "/etc/systemd/system/\(Self.socket).d/local.conf"
            )
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "enable", "--now", Self.socket)
            #expect(try await machine.property("ActiveState", of: Self.service) == "inactive")

            #expect(try await self.ask(machine).status == 200)
            // It is active when it has answered a request of its own too.
            try await eventually("the service is active") {
                try await machine.property("ActiveState", of: Self.service) == "active"
            }
            #expect(try await self.ask(machine, path: local).hasSuffix(" status 200"))
            let status = try await machine.check("env", "XDG_RUNTIME_DIR=/run", Launcher.path, "status")
            #expect(status.contains("listening on http://0.0.0.0:\(machine.port), unix:\(local)"), "\(status)")

            // The socket stays, so the next connection starts it again.
            try await machine.check("systemctl", "stop", Self.service)
            try await self.waitUntilInactive(machine)
            #expect(try await self.ask(machine, path: local).hasSuffix(" status 200"))
            #expect(try await self.ask(machine).status == 200)

            // Stopping the socket stops both.
            try await machine.check("systemctl", "stop", Self.socket)
            #expect(try await machine.property("ActiveState", of: Self.service) == "inactive")
            #expect(!SystemProcesses.isListening(port: machine.port))

            let removed = try await machine.check(Launcher.path, "generate", "systemd", "--uninstall")
            for unit in [Self.service, Self.socket] {
                #expect(removed.contains("removed /etc/systemd/system/\(unit)"), "\(removed)")
            }
        }
    }

    @Test func `a socket that nobody can take is refused with what to do, and a socket unit from before is removed`()
        async throws
    {
        try await withSystemd { machine in
            try await self.install(machine, "--socket")
            try await machine.dropIn(
                "Restart=no",
                "ExecStart=",
                "ExecStart=\(Launcher.path) up --set gateway=false",
                of: Self.service
            )
            try await machine.check("systemctl", "daemon-reload")
            #expect(try await machine.run("systemctl", "start", Self.service).exit == .code(1))
            let status = try await machine.property("StatusText", of: Self.service)
            #expect(status.hasPrefix("nothing was started: the service manager passed a socket, public ("), "\(status)")
            #expect(status.hasSuffix("write 'gateway: true' in the manifest, or stop and disable the socket unit"))

            let again = try await machine.check(
                Launcher.path,
                "generate",
                "systemd",
                "--install",
                "--set",
                "gateway=true"
            )
            #expect(again.contains("removed /etc/systemd/system/\(Self.socket)"), "\(again)")
        }
    }

    // MARK: Restart

    @Test(arguments: [false, true])
    func `a restart under load loses no request`(hasSocketUnit: Bool) async throws {
        try await withSystemd { machine in
            let local = "/run/local.sock"
            let gateway = #"{listeners: ["unix:\#(local)"]}"#
            try await self.install(machine, hasSocketUnit ? "--socket" : "--no-socket", gateway: gateway)
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "start", Self.service)
            let clients = PublicClients(port: machine.port)
            try await clients.run(8) {
                try await clients.answers()
                for _ in 0..<2 {
                    let launcher = try await machine.property("MainPID", of: Self.service)
                    try await machine.check("systemctl", "restart", Self.service)
                    #expect(try await machine.property("MainPID", of: Self.service) != launcher)
                    try await clients.answers()
                }
            }
            let counts = clients.counts
            #expect(counts.refused.isEmpty, "\(counts)")
            #expect(counts.lost.isEmpty, "\(counts)")
            let stored = try await machine.property("NFileDescriptorStore", of: Self.service)
            #expect(stored == (hasSocketUnit ? "0" : "2"))
            // Over the Unix socket too: one request after another from before the restart until after it.
            let launcher = try await machine.property("MainPID", of: Self.service)
            let asking = "curl --silent --fail --output /dev/null --unix-socket \(local) http://localhost/v1/models"
            try await machine.check(
                "/bin/sh",
                "-ec",
                "systemctl restart --no-block \(Self.service); "
                    + "until [ $(systemctl show -P MainPID \(Self.service)) -gt \(launcher) ]; do \(asking); done; \(asking)"
            )
        }
    }

    @Test func `no connection is refused when the launcher is killed under load`() async throws {
        try await withSystemd { machine in
            try await self.install(machine)
            try await machine.dropIn("RestartSec=500ms", of: Self.service)
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "start", Self.service)
            let clients = PublicClients(port: machine.port)
            try await clients.run(8) {
                try await clients.answers()
                let launcher = try await machine.property("MainPID", of: Self.service)
                try await machine.check("kill", "-KILL", launcher)
                try await clients.answers()
                #expect(try await machine.property("NRestarts", of: Self.service) == "1")
                #expect(try await machine.property("MainPID", of: Self.service) != launcher)
            }
            let counts = clients.counts
            #expect(counts.refused.isEmpty, "\(counts)")
            // Only what the launcher had taken can be lost, at most one request of each client.
            #expect(counts.lost.count <= 8, "\(counts)")
        }
    }

    @Test func `a stored socket of another address is dropped, and the manifest's is opened`() async throws {
        try await withSystemd { machine in
            try await self.install(machine)
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "start", Self.service)
            #expect(try await machine.property("NFileDescriptorStore", of: Self.service) == "1")
            // The same port on another address overlaps: it can only be had once the old socket is gone.
            try await self.install(machine, "--set", "http.host=127.0.0.1")
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "restart", Self.service)
            #expect(try await self.ask(machine).status == 200)
            #expect(try await machine.property("NFileDescriptorStore", of: Self.service) == "1")
            let journal = try await machine.journal(of: Self.service)
            let note = "note: a socket that the service manager had kept, 0.0.0.0:\(machine.port), is closed"
            #expect(journal.contains(note), "\(journal)")
            // A stop ends everything.
            try await machine.check("systemctl", "stop", Self.service)
            #expect(try await machine.property("NFileDescriptorStore", of: Self.service) == "0")
            #expect(!SystemProcesses.isListening(port: machine.port))
        }
    }

    // MARK: Scale to zero

    @Test func `without requests everything ends, and the next request brings it back`() async throws {
        try await withSystemd { machine in
            // The socket unit comes with the key.
            try await self.install(machine, gateway: "{idleExit: 1s}")
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "start", Self.socket)
            for _ in 0..<2 {
                #expect(try await self.ask(machine).status == 200)
                try await self.waitUntilInactive(machine)
            }
            let journal = try await machine.journal(of: Self.service)
            let said = journal.components(separatedBy: "no request for 1s: stopping; who holds the public socket")
            #expect(said.count == 3, "\(journal)")
            #expect(try await machine.property("StatusText", of: Self.service) == "stopped: no request for 1s")
        }
    }

    @Test func `a request that comes while it ends is not lost`() async throws {
        try await withSystemd { machine in
            try await self.install(machine, gateway: "{idleExit: 500ms}")
            try await machine.check("systemctl", "daemon-reload")
            try await machine.check("systemctl", "start", Self.socket)
            // One after another, at every moment around the end.
            var failures: [String] = []
            for step in 0..<8 {
                let connection = try ClientSocket(port: machine.port)
                connection.send(
                    "POST \(Self.path) HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\n"
                        + "Content-Length: \(Self.question.utf8.count)\r\n\r\n\(Self.question)"
                )
                let answer = await connection.receive(within: .seconds(20))
                if !answer.isWhole || !answer.text.hasPrefix("HTTP/1.1 200 ") { failures.append("\(answer)") }
                // The time between two requests is the subject.
                try await Task.sleep(for: .milliseconds(480 + 40 * step))
            }
            #expect(failures.isEmpty, "\(failures)")
            let starts = try await machine.journal(of: Self.service).components(separatedBy: ": stopping; who holds")
            #expect(starts.count > 1, "it ended meanwhile")
        }
    }

    // MARK: Units

    @Test(arguments: [["--run-as", "daemon"], ["--user"]])
    func `systemd finds nothing wrong with a service and its socket`(options: [String]) async throws {
        try await withTemporaryDirectory { directory in
            let gateway = #"gateway={idleExit: 30m, listeners: ["unix:/run/user/1/a.sock"]}"#
            let written = try await Launcher.run(
                ["generate", "systemd", "--output", directory.path(), "--set", gateway] + options,
                workingDirectory: "/"
            )
            #expect(written.exit == .code(0), "\(written.output)")
            #expect(written.output.contains("enable --now \(Self.socket)\n"), "\(written.output)")
            let units = [Self.service, Self.socket].map { directory.appending(path: $0).path() }
            let scope = options == ["--user"] ? ["--user"] : []
            let (output, exit) = try await withProgram(
                "/usr/bin/systemd-analyze",
                scope + ["verify"] + units,
                environment: ["XDG_RUNTIME_DIR": directory.path(), "SYSTEMD_COLORS": "0"]
            ) { program in
                try await program.waitForExit()
                return program.output
            }
            #expect(exit == .code(0) && output.isEmpty, "\(output)")
        }
    }

    // MARK: Without systemd

    @Test func `up takes sockets of systemd-socket-activate, and ends when it is idle`() async throws {
        try await withTemporaryDirectory { directory in
            let port = try freePort()
            let path = directory.appending(path: "public.sock").path()
            let variables = ["XDG_STATE_HOME": directory.path(), "XDG_RUNTIME_DIR": directory.path()]
            let run = try await withProgram(
                "/usr/bin/systemd-socket-activate",
                variables.flatMap { ["-E", "\($0)=\($1)"] } + [
                    "-l", "127.0.0.1:\(port)", "-l", path, "--fdname=web:local", Launcher.path, "up", "--set",
                    "gateway={idleExit: 1s}",
                ]
            ) { program in
                try await program.waitForOutput("Listening on \(path)")
                let reply = try await HTTPRequests.post("http://127.0.0.1:\(port)\(Self.path)", json: Self.question)
                #expect(reply.status == 200)
                try await program.waitForExit()
                return program.output
            }
            #expect(run.exit == .code(0), "\(run.value)")
            #expect(run.value.contains("no request for 1s: stopping"), "\(run.value)")
            #expect(
                run.value.contains("web (127.0.0.1:\(port)), local (\(path)), so nobody listens on 0.0.0.0:8000"),
                "\(run.value)"
            )
            #expect(run.value.contains("url     http://127.0.0.1:\(port)\n"), "\(run.value)")
        }
    }
}
