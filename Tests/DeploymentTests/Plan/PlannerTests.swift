import Testing

@testable import Deployment

@Suite struct PlannerTests {
    private func plan(_ processes: String, top: String = "") throws -> Plan {
        try ManifestCase("name: demo\n\(top)\nprocesses:\n\(processes)\n").plan()
    }

    @Test func dependenciesComeFirst() throws {
        let plan = try self.plan(
            """
              a: {builtin: worker, dependsOn: {frontend: health}}
              frontend: {builtin: frontend, dependsOn: [b]}
              b: {role: infrastructure, command: [sleep, 1], ports: {http: 9999}, probes: {health: {http: /x}}}
            """
        )
        #expect(plan.replicas.map(\.name) == ["b", "frontend", "a"])
        #expect(plan.replicas[1].dependencies == [Dependency(process: "b", layer: .health)])
        #expect(
            plan.replicas[2].dependencies == [
                Dependency(process: "b", layer: .health), Dependency(process: "frontend", layer: .health),
            ]
        )
    }

    @Test func aBareDependencyMeansWhatCanBeReached() throws {
        let plan = try self.plan(
            """
              frontend: {builtin: frontend}
              worker: {builtin: worker, dependsOn: [frontend]}
              load: {role: infrastructure, command: [sleep, 1], dependsOn: [frontend]}
            """
        )
        let worker = try #require(plan.replicas.first { $0.name == "worker" })
        let load = try #require(plan.replicas.first { $0.name == "load" })
        #expect(worker.dependencies == [Dependency(process: "frontend", layer: .health)])
        #expect(load.dependencies == [Dependency(process: "frontend", layer: .serving)])
    }

    @Test func manyReplicasArePlannedQuickly() throws {
        let plan = try self.plan("  w: {role: worker, command: [sleep, 1], replicas: 200, ports: {a: auto}}\n")
        #expect(plan.replicas.count == 200)
        #expect(Set(plan.replicas.flatMap(\.ports).map(\.port)).count == 200)
        #expect(plan.replicas[199].name == "w-199")
    }

    @Test func zeroReplicasAreNotStartedAndNotWaitedFor() throws {
        let plan = try self.plan(
            "  frontend: {builtin: frontend, dependsOn: [w]}\n  w: {builtin: worker, replicas: 0}\n"
        )
        #expect(plan.replicas.map(\.name) == ["frontend"])
        #expect(plan.replicas[0].dependencies.isEmpty)
    }

    @Test func gpus() throws {
        let plan = try self.plan(
            """
              a: {builtin: worker, gpus: 1, replicas: 2}
              b: {builtin: worker, gpus: [1, 3]}
              c: {builtin: worker, gpus: [[4], [5, 6]], replicas: 2}
              d: {builtin: worker, gpus: [GPU-1, GPU-2, GPU-3, GPU-4], replicas: 2}
              e: {builtin: worker, gpus: []}
              f: {builtin: worker}
            """,
            top: "device: xpu"
        )
        let devices = plan.replicas.map { replica in replica.environment.first { $0.name == "ZE_AFFINITY_MASK" }?.value
        }
        #expect(devices == ["0", "2", "1,3", "4", "5,6", "GPU-1,GPU-2", "GPU-3,GPU-4", "", nil])
    }

    @Test func conditionalArguments() throws {
        func arguments(_ device: String) throws -> [String] {
            var planned = ManifestCase(
                "name: demo\nprocesses:\n  w:\n    builtin: worker\n    args: [a, {when: \"${D}\", equals: xpu, args: [b, \"{{index}}\"]}, c]\n"
            )
            planned.environment["D"] = device
            return try planned.plan().replicas[0].arguments
        }
        #expect(try arguments("cuda") == ["a", "c"])
        #expect(try arguments("xpu") == ["a", "b", "0", "c"])
    }

    @Test func probesAreOverriddenAddedAndLeftOut() throws {
        let plan = try self.plan(
            """
              frontend:
                builtin: frontend
                probes:
                  live: none
                  health: {http: {url: "/health?x={{index}}", status: 204, contains: ok}}
                  serving: {exec: [check, "{{port.http}}"]}
              db:
                role: infrastructure
                command: [sleep, 1]
                ports: {sql: 5432}
                probes: {port: {tcp: sql}, health: {log: "ready to accept"}, live: {tcp: "db.local:{{port.sql}}"}}
            """,
            top: "http: {host: \"::1\", port: 8080}\ngateway: false"
        )
        let frontend = try #require(plan.replicas.first { $0.name == "frontend" })
        #expect(frontend.readiness.map(\.layer) == [.alive, .port, .health, .modelListed, .modelReady, .serving])
        #expect(frontend.readiness[1].probe == .tcp(host: "::1", port: 8080))
        #expect(
            frontend.readiness[2].probe
                == .http(url: "http://127.0.0.1:8080/health?x=0", statuses: [204], bodyContains: "ok")
        )
        #expect(frontend.readiness[3].probe == .modelListed(baseURL: "http://[::1]:8080", model: nil))
        #expect(frontend.readiness[5].probe == .exec(argv: ["check", "8080"]))
        let database = try #require(plan.replicas.first { $0.name == "db" })
        #expect(database.readiness[1].probe == .tcp(host: "127.0.0.1", port: 5432))
        #expect(database.readiness[3].probe == .logLine(pattern: "ready to accept"))
    }

    @Test func leasedPortsAvoidFixedOnes() throws {
        let plan = try self.plan(
            "  a: {builtin: worker}\n  b: {builtin: worker, ports: {system: 20000}}\n",
            top: "http: {port: 20001}"
        )
        #expect(plan.replicas.map { $0.ports.map(\.port) } == [[20002], [20000]])
    }

    @Test func anAutomaticPublicPort() throws {
        let plan = try self.plan("  frontend: {builtin: frontend}\n", top: "http: {port: auto}\ngateway: false")
        #expect(plan.publicAddress.port == 20000)
        #expect(plan.replicas[0].environment.first { $0.name == "DYN_HTTP_PORT" }?.value == "20000")
    }

    @Test func directoriesFollowTheXDGRules() throws {
        var planned = ManifestCase("name: demo\nprocesses:\n  f: {builtin: frontend}\n")
        planned.environment["XDG_STATE_HOME"] = "/state"
        #expect(
            try planned.plan().directories
                == DeploymentDirectories(
                    state: "/state/dynamo-launch/demo",
                    runtime: "/run/user/1000/dynamo-launch/demo"
                )
        )
        planned.environment["XDG_STATE_HOME"] = "relative"
        planned.environment["XDG_RUNTIME_DIR"] = nil
        #expect(
            try planned.plan().directories
                == DeploymentDirectories(
                    state: "/home/ada/.local/state/dynamo-launch/demo",
                    runtime: "/tmp/dynamo-launch-1000/demo"
                )
        )
    }

    @Test func relativePathsBeginAtTheManifest() throws {
        let text = "name: demo\ndiscovery: {backend: file, directory: kv}\nprocesses:\n  f: {builtin: frontend}\n"
        #expect(try ManifestCase(text, path: "sub/demo.yaml").plan().discovery == .file(directory: "/srv/demo/sub/kv"))
        #expect(try ManifestCase(text, path: "/etc/demo.yaml").plan().discovery == .file(directory: "/etc/kv"))
    }

    @Test func aPortThatCannotBeLeasedIsAnError() throws {
        struct Full: Error, CustomStringConvertible { var description: String { "all taken" } }
        let planned = ManifestCase("name: demo\nprocesses:\n  w: {builtin: worker}\n")
        var facts = planned.facts
        facts.leasePort = { _ in throw Full() }
        let manifest = try planned.manifest()
        let error = #expect(throws: ManifestErrors.self) { try Planner.plan(manifest, facts: facts) }
        #expect(error?.description.contains("no port can be had for 'system' of process 'w': all taken") == true)
    }

    @Test func differentReleasesAreNoted() throws {
        let planned = ManifestCase(
            "name: demo\nprocesses:\n  f: {module: dynamo.frontend}\n  w: {module: dynamo.mocker, python: /usr/bin/sh}\n"
        )
        var facts = planned.facts
        facts.detectRelease = { .success($0.hasSuffix("sh") ? DynamoRelease(1, 2, 1) : DynamoRelease(1, 6, 1)) }
        let plan = try Planner.plan(planned.manifest(), facts: facts)
        #expect(plan.release == DynamoRelease(1, 2, 1))
        #expect(plan.notes.count == 1)
    }

    /// A wrapper script may start Dynamo; the stated release says which.
    @Test func aStatedReleaseCountsForCommandsToo() throws {
        let command = "  w: {role: worker, command: [sleep, 1]}\n"
        #expect(try self.plan(command).planes.events == .none)
        let plan = try self.plan(command, top: "dynamo: {release: 1.6.1}")
        #expect(plan.planes.events == .zmq)
        #expect(plan.replicas[0].environment.first { $0.name == "DYN_RESPONSE_PLANE" }?.value == "tcp")
        #expect(throws: ManifestErrors.self) { try self.plan(command, top: "planes: http\ndynamo: {release: 1.6.1}") }
    }

    @Test func whatIsProbablyForgottenIsAWarning() throws {
        func warnings(_ processes: String) throws -> [String] {
            try ManifestCase("name: demo\nprocesses:\n\(processes)\n").manifest().warnings.map(\.description)
        }
        #expect(try warnings("  f: {builtin: frontend}\n  w: {builtin: worker}").isEmpty)
        #expect(try warnings("  x: {role: infrastructure, command: [sleep, 1]}").isEmpty)
        #expect(
            try warnings("  w: {builtin: worker}") == [
                "test.yaml:3:3: warning: no process is a frontend, so no request proves that the deployment serves\n"
                    + "  remedy: add a process with 'builtin: frontend' or 'module: dynamo.frontend'"
            ]
        )
        #expect(try warnings("  f: {builtin: frontend}").count == 1)
    }

    @Test func aManagedServerThatIsMissingHasARemedy() throws {
        var planned = ManifestCase(
            "name: demo\nplanes: nats\ninfrastructure: {nats: managed}\nprocesses:\n  f: {builtin: frontend}\n"
        )
        planned.environment["PATH"] = "/nowhere"
        #expect(
            planned.errors
                == "test.yaml:3:24: error: the managed NATS server cannot be started: 'nats-server' is not on PATH\n"
                + "  remedy: install Debian's package nats-server (apt install nats-server), or name a server that runs: "
                + "'infrastructure: nats: nats://host:4222'\n"
        )
    }

    /// Debian has it where not every user's PATH leads.
    @Test func aManagedServerMayBeASystemProgram() throws {
        var planned = ManifestCase(
            "name: demo\nplanes: nats\ninfrastructure: {nats: managed}\nprocesses:\n  f: {builtin: frontend}\n"
        )
        planned.environment["PATH"] = "/nowhere"
        var facts = planned.facts
        let isExecutable = facts.isExecutable
        facts.isExecutable = { $0 == "/usr/sbin/nats-server" || isExecutable($0) }
        let plan = try Planner.plan(planned.manifest(), facts: facts)
        #expect(plan.replicas.first { $0.name == "nats" }?.executable == "/usr/sbin/nats-server")
    }

    @Test func tooNewAReleaseIsNoted() throws {
        var planned = ManifestCase("name: demo\nprocesses:\n  f: {module: dynamo.frontend}\n")
        planned.release = DynamoRelease(1, 9, 0)
        #expect(
            try planned.plan().notes == ["Dynamo 1.9.0 is newer than any release known here; it is treated like 1.6.1"]
        )
    }
}
