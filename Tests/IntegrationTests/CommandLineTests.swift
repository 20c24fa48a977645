import Deployment
import Foundation
import TestSupport
import Testing

/// What the program says and how it ends, without a deployment.
@Suite struct CommandLineTests {
    static let launch = TestEnvironment.root.appending(path: "launch")

    @Test(arguments: [["--bogus"], ["up", "--bogus"], ["plan", "--tpc"], ["status", "--waitt"]])
    func `an unknown option ends with 1, a message and a usage hint`(arguments: [String]) async throws {
        let (output, exit) = try await Launcher.run(arguments)
        #expect(exit == .code(1))
        #expect(output.contains("Unknown option '\(arguments.last ?? "")'"), "\(output)")
        #expect(output.contains("Usage: dynamo-launch"), "\(output)")
        #expect(output.contains("--help"), "\(output)")
    }

    @Test(arguments: ["--bogus", "--help", "--version", "check /nonexistent.yaml"])
    func `the caller's process group gets no signal`(arguments: String) async throws {
        let script = "trap 'echo signalled' TERM INT HUP; \"$0\" \(arguments) >/dev/null 2>&1; echo alive"
        let (output, exit) = try await withProgram("/bin/sh", ["-c", script, Launcher.path]) { program in
            try await program.waitForExit()
            return program.output
        }
        #expect(exit == .code(0))
        #expect(output == "alive\n")
    }

    @Test(arguments: [["--help"], ["up", "--help"], ["plan", "-h"], ["logs", "--help"]])
    func `help ends with 0`(arguments: [String]) async throws {
        let (output, exit) = try await Launcher.run(arguments)
        #expect(exit == .code(0))
        #expect(output.hasPrefix("OVERVIEW:"))
    }

    @Test func `the version is printed`() async throws {
        let (output, exit) = try await Launcher.run(["--version"])
        #expect(exit == .code(0))
        #expect(output.wholeMatch(of: /\d+\.\d+\.\d+\n/) != nil, "\(output)")
    }

    @Test(arguments: [
        (["--tcp", "--nats"], "nats"), (["--nats", "--tcp"], "tcp"), (["--http", "--nats", "--tcp", "--nats"], "nats"),
        ([], "tcp"),
    ])
    func `the last plane flag wins`(flags: [String], plane: String) async throws {
        let (output, exit) = try await Launcher.run(
            ["plan", "--json"] + flags + [
                Self.launch.appending(path: "mocker.yaml").path(), "--set", "dynamo.release=1.2.1",
            ],
            environment: ["MODEL_PATH": "/models/tiny"]
        )
        #expect(exit == .code(0), "\(output)")
        let plan = try JSONDecoder().decode(Plan.self, from: Data(output.utf8))
        #expect(plan.planes.request.rawValue == plane)
    }

    @Test func `an invalid plane names the valid ones`() async throws {
        let (output, exit) = try await Launcher.run(["check", "--set", "planes.request=udp"])
        #expect(exit == .code(1))
        #expect(output.contains("Invalid request plane mode 'udp': valid values are tcp, http, nats"), "\(output)")
    }

    @Test func `a plan starts nothing and writes nothing`() async throws {
        try await withTemporaryDirectory { directory in
            let (output, exit) = try await Launcher.run(
                ["plan"],
                environment: ["XDG_STATE_HOME": directory.path(), "XDG_RUNTIME_DIR": directory.path()],
                workingDirectory: directory.path()
            )
            #expect(exit == .code(0))
            #expect(output.contains("dynamo-frontend"), "\(output)")
            #expect(output.contains("DYN_REQUEST_PLANE"), "\(output)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path()).isEmpty)
        }
    }

    @Test func `a manifest that is not there is an error with a hint`() async throws {
        let (output, exit) = try await Launcher.run(["up", "/nonexistent/deployment.yaml"])
        #expect(exit == .code(1))
        #expect(output.contains("/nonexistent/deployment.yaml"))
        let (typo, typoExit) = try await Launcher.run(["statsu"])
        #expect(typoExit == .code(1))
        #expect(typo.contains("status"), "\(typo)")
    }

    @Test func `commands to a deployment that does not run say so`() async throws {
        try await withTemporaryDirectory { directory in
            for command in [["status"], ["stop", "nobody"], ["logs"]] {
                let environment = ["XDG_RUNTIME_DIR": directory.path(), "XDG_STATE_HOME": directory.path()]
                let (output, exit) = try await Launcher.run(command, environment: environment)
                #expect(exit == .code(1))
                #expect(output.contains("no deployment"), "\(output)")
            }
        }
    }

    @Test func `a shell completes names of deployments, processes and replicas`() async throws {
        try await withTemporaryDirectory { directory in
            // What there is of a deployment is seen in its folders.
            for name in ["chat", "ended"] {
                let logs = directory.appending(path: "dynamo-launch/\(name)/logs")
                try FileManager.default.createDirectory(at: logs, withIntermediateDirectories: true)
                for log in ["frontend", "worker-0", "worker-1"] + (name == "ended" ? ["cache"] : []) {
                    try Data().write(to: logs.appending(path: "\(log).log"))
                }
                let events = DeploymentDirectories(state: logs.deletingLastPathComponent().path(), runtime: "").events
                try Data().write(to: URL(filePath: events))
            }
            try Data().write(to: directory.appending(path: "dynamo-launch/chat/control.sock"))
            // As bash asks when TAB is pressed after these words.
            let script = """
                PATH="$(dirname "$0"):$PATH"; source <("$0" completion bash)
                for line in "status " "events " "restart " "stop --process " "logs ended --process c" "scale w"; do
                    COMP_LINE="dynamo-launch $line" COMP_POINT=$((14 + ${#line})) COMP_WORDS=(dynamo-launch $line)
                    case "$line" in *" ") COMP_WORDS+=("");; esac
                    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
                    _dynamo-launch dynamo-launch "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
                    echo "$line:" $(printf '%s\\n' "${COMPREPLY[@]}" | grep -v '^-')
                done
                """
            let environment = ["XDG_RUNTIME_DIR": directory.path(), "XDG_STATE_HOME": directory.path()]
            let (output, exit) = try await withProgram(
                "/bin/bash",
                ["-c", script, Launcher.path],
                environment: environment
            ) { program in
                try await program.waitForExit()
                return program.output
            }
            #expect(exit == .code(0))
            #expect(
                output == """
                    status : chat
                    events : chat ended
                    restart : frontend worker worker-0 worker-1
                    stop --process : frontend worker worker-0 worker-1
                    logs ended --process c: cache
                    scale w: worker=

                    """
            )
        }
    }

    @Test func `the bash completion script parses`() async throws {
        let script =
            "\"$0\" completion bash | bash -n && \"$0\" completion zsh | grep -q compdef && \"$0\" completion fish | grep -q complete"
        let (output, exit) = try await withProgram("/bin/sh", ["-c", script, Launcher.path]) { program in
            try await program.waitForExit()
            return program.output
        }
        #expect(exit == .code(0), "\(output)")
    }
}
