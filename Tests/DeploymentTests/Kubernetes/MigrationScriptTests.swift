import Foundation
import Testing

@testable import Deployment

/// Parts of `migrate.sh`, with answers of kubectl that a test makes up.
@Suite
struct MigrationScriptTests {
    private static let head = """
        set -euo pipefail; shopt -s inherit_errexit
        deployment=chat from=1 to=2 to_plane=http from_plane=tcp service=chat route= command=all selector_key=g selector_from=1 selector_to=2
        from_frontends=old to_frontends=new to_pods=next from_pods=last to_service=g2-chat-own workloads=(d/a) servers=()
        start_timeout=20 stop_timeout=5 most_restarts=5 pods_wanted=2 yes=1 changed=0 all_pods=x me=
        work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

        """

    /// Runs lines of bash after the script's functions; `k` and `quick` are to be defined by them.
    private static func run(_ lines: String) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/bash")
        process.arguments = [
            "-c", Self.head + MigrationScript.reading + MigrationScript.locking + MigrationScript.acting + "\n" + lines,
        ]
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return String(decoding: output, as: UTF8.self)
    }

    /// A pod as `pods` prints it.
    private static func pod(_ name: String, restarts: String = "0+0", ending: String = "") -> String {
        "\(name)\tTrue\t\(restarts)\t\(ending)\t"
    }

    @Test func `a slow start is waited for, and one container's ends are not another's`() throws {
        let lines = """
            pods() { printf '%s\\n' "$POD_A" "$POD_B"; }
            k() {
                echo "$*" >>"$work/asked"
                [ "$(grep -c . "$work/asked")" -gt 2 ] || { echo 'error: deployment "a" exceeded its progress deadline'; return 1; }
            }
            quick() { :; }
            until_leads_to() { :; }
            undo() { echo "undo: $1"; exit 2; }
            do_wait; echo ready
            """
        func wait(_ first: String, _ second: String) throws -> String {
            try Self.run("POD_A=$'\(first)' POD_B=$'\(second)'\n" + lines)
        }
        #expect(try wait(Self.pod("a", restarts: "3+2+0"), Self.pod("b", restarts: "4+0")).hasSuffix("\nready\n"))
        let broken = try wait(Self.pod("a", restarts: "3+2+0"), Self.pod("b", restarts: "5+0"))
        #expect(broken.contains("undo: a container of generation 2 ended 5 times before it was ready"), "\(broken)")
    }

    @Test func `when the lock was renewed can be read at every moment`() throws {
        let output = try Self.run(
            """
            patch_lease() { :; }
            renew
            for _ in {1..300}; do renew; done &
            while kill -0 $! 2>/dev/null; do [ -n "$(<"$work/renewed")" ] || { echo empty; break; }; done
            wait; echo done
            """
        )
        #expect(output == "done\n")
    }

    @Test func `a pod that is ending is not ready`() throws {
        let gone = Self.pod("a", ending: "2026-01-01T00:00:00Z")
        let output = try Self.run("pods() { printf '%s\\n' $'\(gone)' $'\(Self.pod("b"))'; }\nready_pods x")
        #expect(output == "b\n")
        #expect(MigrationScript.reading.contains(#"0{"\t"}{.metadata.deletionTimestamp}{"\t"}"#))
    }

    @Test func `servers come first, and are ready before the rest is applied`() throws {
        let output = try Self.run(
            """
            servers=(statefulset/chat-nats) here=$work
            mkdir "$work/generation-2"
            echo 'kind: StatefulSet' >"$work/generation-2/a.yaml"
            for kind in Deployment DynamoGraphDeployment HorizontalPodAutoscaler; do echo "kind: $kind" >"$work/generation-2/$kind.yaml"; done
            k() { echo "k $*" >>"$work/asked"; }
            quick() { case $* in *selector*) printf 1 ;; esac; }
            do_apply; sed "s|$work/||g" "$work/asked"
            """
        )
        #expect(
            output.hasSuffix(
                "k apply -f generation-2/a.yaml\nk rollout status statefulset/chat-nats --timeout=3s\nk apply -f generation-2\n"
            ),
            "\(output)"
        )
    }

    @Test func `a graph that may not be scaled is deleted`() throws {
        let lines = """
            k() { echo "k $*"; }
            delete() { [ $# = 0 ] || echo "delete $*"; }
            quick() { case $* in get*pods*) : ;; get*) echo graph/chat ;; *) echo "quick $*" >&2 ;; esac; }
            close_frontends graph/chat
            """
        #expect(try Self.run(lines + " '' sel") == "delete graph/chat\n")
        #expect(try Self.run(lines + " '[]' sel") == "quick patch graph/chat --type=json -p []\n")
    }

    /// What would move clients back, or take back what cannot be, when it is repeated.
    @Test(
        arguments: ["done", "retiring", "switched"],
        ["do_apply", "do_wait", "do_verify", "do_switch", "do_observe"]
    )
    func `a command that comes too late changes nothing`(_ state: String, _ command: String) throws {
        let output = try Self.run(
            """
            k() { echo "k $*"; }
            quick() { case $* in *annotations*) printf '1-to-2.\(state)' ;; *selector*) printf 2 ;; *) echo "quick $*" ;; esac; }
            ask() { :; }; watch_it() { echo watched; }; until_leads_to() { :; }; successes=1 verify_timeout=1 pods_wanted=0 port=1 to_port=1
            pods() { :; }; steps=5,100 route=chat here=/x
            \(command); echo went on
            """
        )
        if state == "switched" {
            #expect(!output.contains("route.yaml") && !output.contains("patch httproute"), "\(output)")
            #expect(output.contains("went on") != (command == "do_apply"), "\(output)")
        } else {
            #expect(output.hasPrefix("chat: generation 1 is deleted or being deleted"), "\(output)")
            #expect(!output.contains("went on"), "\(output)")
        }
    }

    @Test(arguments: ["do_switch", "do_finish", "do_rollback"])
    func `whoever must be asked is looked for first`(_ command: String) throws {
        let at = command == "do_finish" ? 2 : 1
        let output = try Self.run(
            """
            yes=0
            k() { echo "k $*" >&2; }
            quick() { case $* in *annotations*) : ;; *selector*) printf \(at) ;; *) echo "quick $*" >&2 ;; esac; }
            leads_to() { :; }
            \(MigrationScript.commands.components(separatedBy: "do_dry_run() {")[0])
            \(command)
            """
        )
        #expect(output.hasPrefix("chat: nobody is here to be asked whether to"), "\(output)")
        #expect(output.split(separator: "\n").count == 1, "\(output)")
    }

    @Test(arguments: [
        ("30", "30"), ("090s", "90"), ("2m", "120"), ("3ms", nil), ("m", nil), ("1h", nil), ("", nil), ("-1", nil),
        ("99999999", nil),
    ])
    func `times are seconds or minutes`(_ text: String, _ seconds: String?) throws {
        let output = try Self.run("seconds --observe '\(text)'")
        if let seconds {
            #expect(output == "\(seconds)\n")
        } else {
            #expect(output.contains("--observe is a time such as 30s or 2m, not '\(text)'"), "\(output)")
            #expect(output.split(separator: "\n").count == 1, "\(output)")
        }
    }

    @Test(arguments: ["", "chat"])
    func `the API server is asked about every file`(_ route: String) throws {
        let output = try Self.run(
            """
            k() { echo "k $*"; }; quick() { printf 1; }; here=/x route=\(route)
            \(MigrationScript.commands.components(separatedBy: "\ncommand=\n")[0])
            do_dry_run
            """
        )
        for file in ["generation-2", "switch.yaml", "rollback.yaml"] {
            #expect(output.contains("-f /x/\(file)"), "\(output)")
        }
        for file in ["route.yaml", "route-done.yaml"] {
            #expect(output.contains("-f /x/\(file)") == !route.isEmpty, "\(output)")
        }
    }
}
