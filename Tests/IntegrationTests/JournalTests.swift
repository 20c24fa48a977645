import Foundation
import TestSupport
import Testing

/// What a service writes to the journal of a real systemd.
@Suite(.serialized) struct JournalTests {
    private static let unit = "dynamo-launch-spoken.service"

    /// A deployment with a process that runs a script, and a log line as its readiness.
    private static func manifest(_ port: Int, script: String) -> String {
        """
        name: spoken
        model: echo
        http: {port: \(port)}
        processes:
          speaker:
            role: infrastructure
            command: [/bin/sh, -c, '\(script)']
            probes: {health: {log: ^spoken}}
          frontend: {builtin: frontend}
          worker:
            builtin: worker
            args: [--engine, echo, --model-name, echo]

        """
    }

    private func install(_ machine: SystemdMachine, script: String) async throws {
        try await machine.write(Self.manifest(machine.port, script: script), to: "/srv/spoken.yaml")
        try await machine.check(Launcher.path, "generate", "systemd", "--install", "/srv/spoken.yaml")
        try await machine.check("systemctl", "daemon-reload")
    }

    /// Entries that match, oldest first: only fields that are text.
    private func entries(_ machine: SystemdMachine, _ matches: String...) async throws -> [[String: String]] {
        let script = #"exec journalctl --output=json --no-pager "$@" 2>&1"#
        let text = try await machine.run(
            "/bin/sh",
            "-c",
            "\(script.replacing("\"$@\"", with: matches.joined(separator: " ")))"
        )
        return text.output.split(separator: "\n").compactMap { line in
            let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            return object?.compactMapValues { $0 as? String }
        }
    }

    @Test func `lines have the fields of their process, each is there once, and the unit is known`() async throws {
        try await withSystemd { machine in
            let script =
                #"echo "started as $$$$"; printf "\\033[31mred\\033[0m\\n"; echo "<3>very bad" >&2; echo spoken; exec sleep 1000"#
            try await self.install(machine, script: script)
            try await machine.check("systemctl", "start", Self.unit)
            try await eventually("the journal has the last word") {
                try await self.entries(machine, "DYNAMO_DEPLOYMENT=spoken").contains {
                    $0["MESSAGE"]?.hasPrefix("ready in ") ?? false
                }
            }
            let lines = try await self.entries(machine, "DYNAMO_PROCESS=speaker", "SYSLOG_IDENTIFIER=speaker")
            let pid = try #require(lines.first?["DYNAMO_PID"])
            // Two streams have no order between them.
            let (out, err) = (
                lines.filter { $0["DYNAMO_STREAM"] == "stdout" }, lines.filter { $0["DYNAMO_STREAM"] == "stderr" }
            )
            #expect(out.compactMap { $0["MESSAGE"] } == ["started as \(pid)", "red", "spoken"])
            #expect(out.compactMap { $0["PRIORITY"] } == ["6", "6", "6"])
            #expect(err.map { [$0["MESSAGE"], $0["PRIORITY"], $0["DYNAMO_PID"]] } == [["very bad", "3", pid]])
            #expect(lines.allSatisfy { $0["DYNAMO_PLANE"] == "tcp" && $0["DYNAMO_REPLICA"] == "speaker" })
            #expect(lines.allSatisfy { $0["_SYSTEMD_UNIT"] == Self.unit && $0["_TRANSPORT"] == "journal" })

            let bad = try await self.entries(machine, "--priority=err", "DYNAMO_DEPLOYMENT=spoken")
            #expect(bad.compactMap { $0["MESSAGE"] } == ["very bad"])
            let own = try await self.entries(machine, "SYSLOG_IDENTIFIER=dynamo-launch", "DYNAMO_PROCESS=worker")
            #expect(own.contains { $0["MESSAGE"]?.hasPrefix("worker: started, pid ") ?? false })
            let all = try await machine.journal(of: Self.unit).split(separator: "\n")
            for text in ["spoken", "very bad", "red"] { #expect(all.count { $0 == text } == 1, "\(all)") }
            #expect(all.count { $0.hasPrefix("ready in ") } == 1)
            #expect(all.filter { $0.contains(" | ") } == [])
            // Once a request was answered, what the worker writes has its last layer.
            let layers = try await self.entries(machine, "DYNAMO_PROCESS=worker", "SYSLOG_IDENTIFIER=worker")
            #expect(layers.allSatisfy { $0["DYNAMO_LAYER"] != nil || $0["DYNAMO_PID"] != nil })

            try await machine.check("systemctl", "stop", Self.unit)
            let last = try await machine.journal(of: Self.unit)
            #expect(last.contains("frontend: stopped") && last.contains("\nstopping\n"), "\(last)")
        }
    }

    @Test func `why it failed is the unit's even though the launcher is gone at once`() async throws {
        try await withSystemd { machine in
            try await self.install(machine, script: "echo cannot go on; exit 4")
            try await machine.dropIn("Restart=no", of: Self.unit)
            try await machine.write(
                try await machine.check("sed", "s/probes: .*/restart: never/", "/srv/spoken.yaml"),
                to: "/srv/spoken.yaml"
            )
            try await machine.check("systemctl", "daemon-reload")
            #expect(try await machine.run("systemctl", "start", Self.unit).exit == .code(1))
            try await eventually("the journal has the error") {
                try await machine.journal(of: Self.unit).contains("error: speaker: exit code 4")
            }
            let lines = try await machine.journal(of: Self.unit).split(separator: "\n")
            #expect(lines.count { $0.contains("cannot go on") } == 1, "\(lines)")
        }
    }

    @Test func `a journal that takes nothing holds nothing up, and misses lines that it is told the number of`()
        async throws
    {
        try await withSystemd { machine in
            let script =
                "while ! test -e /run/go; do sleep 0.1; done; seq 1000000 1200000; echo spoken; exec sleep 1000"
            try await self.install(machine, script: script)
            try await machine.check("systemctl", "start", "--no-block", Self.unit)
            try await eventually("the speaker runs") {
                try await !self.entries(machine, "SYSLOG_IDENTIFIER=dynamo-launch", "DYNAMO_PROCESS=speaker").isEmpty
            }
            let journal = try await machine.property("MainPID", of: "systemd-journald.service")
            try await machine.check("kill", "-STOP", journal)
            try await machine.check("touch", "/run/go")
            try await eventually(within: .seconds(30), "the deployment serves") {
                try await machine.property("ActiveState", of: Self.unit) == "active"
            }
            #expect(try await HTTPRequests.get("http://127.0.0.1:\(machine.port)/v1/models").status == 200)
            try await machine.check("kill", "-CONT", journal)
            try await eventually(within: .seconds(30), "the journal is told") {
                try await machine.journal(of: Self.unit).contains(" lines are missing here: ")
            }
        }
    }

    @Test func `a journal that goes away leaves the lines to standard output, and one that never was is an error`()
        async throws
    {
        try await withSystemd { machine in
            let script = "while ! test -e /run/go; do sleep 0.1; done; echo spoken; exec sleep 1000"
            try await self.install(machine, script: script)
            try await machine.check("systemctl", "start", "--no-block", Self.unit)
            try await eventually("the speaker runs") {
                try await !self.entries(machine, "SYSLOG_IDENTIFIER=dynamo-launch", "DYNAMO_PROCESS=speaker").isEmpty
            }
            try await machine.check("mv", "/run/systemd/journal/socket", "/run/systemd/journal/away")
            try await machine.check("touch", "/run/go")
            try await eventually("the line came by the other way") {
                try await self.entries(machine, "_TRANSPORT=stdout").contains { $0["MESSAGE"] == "speaker | spoken" }
            }
            let complaints = try await self.entries(machine, "_TRANSPORT=stdout").compactMap { $0["MESSAGE"] }.filter {
                $0.contains("the journal does not take lines (No such file or directory)")
            }
            #expect(complaints.count == 1)

            let refused = try await machine.run(Launcher.path, "up", "--log-format", "journal", "/srv/spoken.yaml")
            #expect(refused.exit == .code(1) && refused.output.contains("--log-format journal: there is no journal"))
        }
    }
}
