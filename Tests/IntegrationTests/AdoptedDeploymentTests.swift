import Foundation
import Supervisor
import TestSupport
import Testing

/// What comes after an adoption: orders, ports that are taken, a manifest that has changed meanwhile.
@Suite(.serialized) struct AdoptedDeploymentTests {
    @Test func `what a person had stopped is started after an adoption, also when another one waits for it`()
        async throws
    {
        let more = """
              helper: {role: infrastructure, command: [/bin/sleep, '600']}
              waiter: {role: infrastructure, command: [/bin/sleep, '600'], dependsOn: [helper], restart: {initialDelay: 50ms}}
            """
        try await SurvivalTests.withDeployment(more: more) { deployment in
            var waiter: Int32 = 0
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                waiter = try #require(try await SurvivalTests.pids(deployment)["waiter"])
                let stop = try await deployment.command("stop", "lasting", "--process", "helper")
                #expect(stop.exit == .code(0), "\(stop.output)")
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            kill(waiter, SIGKILL)
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                try await eventually("it waits for a person") {
                    let status = try await deployment.client.status()
                    return status.state == .degraded
                        && status.replicas.contains { $0.name == "waiter" && $0.waitingFor == "helper to reach alive" }
                }
                let start = try await deployment.command("start", "helper", "--deployment", "lasting")
                #expect(start.exit == .code(0), "\(start.output)")
                try await eventually("all run again") { try await deployment.client.status().state == .ready }
                program.send(SIGTERM)
                try await program.waitForExit()
            }
        }
    }

    @Test
    func `one that was not started yet, and whose port is taken after an adoption, ends nobody and is tried again`()
        async throws
    {
        let port = try freePort()
        let more = """
              helper:
                role: infrastructure
                command: [/bin/sh, -c, "while ! [ -e go ]; do sleep 0.05; done; echo going; exec sleep 600"]
                probes: {health: {log: ^going}}
              late:
                role: infrastructure
                command: [/bin/sleep, '600']
                ports: {side: \(port)}
                dependsOn: {helper: health}
                restart: {initialDelay: 100ms, maxDelay: 200ms, maxRestarts: 500}
            """
        try await SurvivalTests.withDeployment(more: more) { deployment in
            try await deployment.up { program in
                try await program.waitForOutput("helper: started, pid ")
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            let holder =
                "import socket,time\ns=socket.create_server(('127.0.0.1',\(port)))\nprint('held',flush=True)\ntime.sleep(600)"
            _ = try await withProgram("/usr/bin/env", ["python3", "-c", holder]) { other in
                try await other.waitForOutput("held")
                try await deployment.up { program in
                    try await program.waitForOutput("helper: adopted, pid ")
                    try Data().write(to: deployment.directory.appending(path: "go"))
                    try await program.waitForOutput("; restart 1 of at most 500 in ")
                    #expect(program.output.contains("late: ") && program.output.contains("pid \(other.pid)"))
                    other.send(SIGKILL)
                    try await program.waitForOutput("late: started, pid ")
                    try await program.waitForOutput("ready in ")
                    program.send(SIGTERM)
                    try await program.waitForExit()
                }
            }
        }
    }

    @Test func `a changed manifest is applied before 'up -d' returns, and both it and 'upgrade' show it`() async throws
    {
        try await SurvivalTests.withDeployment { deployment in
            func write(_ colour: String) throws {
                let worker = "{builtin: worker, env: {COLOUR: \(colour)}}"
                try SurvivalTests.manifest(worker: worker).write(
                    to: deployment.manifest,
                    atomically: true,
                    encoding: .utf8
                )
            }
            func run(_ arguments: String...) async throws -> String {
                let environment = deployment.environment
                let (output, exit) = try await Launcher.run(arguments, environment: environment, within: .seconds(60))
                #expect(exit == .code(0), "\(arguments): \(output)")
                return output
            }
            var before: [String: Int32] = [:]
            try await deployment.up { program in
                try await program.waitForOutput("ready in ")
                before = try await SurvivalTests.pids(deployment)
                program.send(SIGKILL)
                try await program.waitForExit()
            }
            try write("green")
            let up = try await Launcher.run(
                ["up", "-d"] + deployment.arguments,
                environment: deployment.environment,
                workingDirectory: deployment.directory.path(),
                within: .seconds(60)
            )
            #expect(up.exit == .code(0), "\(up.output)")
            #expect(up.output.contains("change  worker: environment: COLOUR"), "\(up.output)")
            // The counter may say something after it.
            #expect(up.output.contains("dynamo-launch | changed\n"), "\(up.output)")
            let adopted = try await SurvivalTests.pids(deployment)
            #expect(adopted["worker"] != before["worker"] && adopted["frontend"] == before["frontend"])

            let same = try await run("upgrade")
            #expect(same.hasPrefix("lasting: runs under "), "\(same)")
            try write("red")
            let upgraded = try await run("upgrade")
            #expect(
                upgraded.hasPrefix(
                    "the manifest has changed, and the upgrade applies it:\nchange  worker: environment: COLOUR\n"
                ),
                "\(upgraded)"
            )
            #expect(upgraded.hasSuffix("goes on: dynamo-launch events lasting --follow\n"), "\(upgraded)")
            try await eventually(within: .seconds(20), "it is changed") {
                let now = try await SurvivalTests.pids(deployment)
                return now["worker"] != nil && now["worker"] != adopted["worker"]
            }
        }
    }
}
