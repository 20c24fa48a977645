import Foundation
import Supervisor
import TestSupport
import Testing

/// `migrate.sh` in a small cluster, with the real kubectl: to the end, and back by its exit code.
@Suite("Kubernetes migrations", .serialized, .timeLimit(.minutes(3)))
struct KubernetesMigrationTests {
    private static let worker = "{builtin: worker, args: [--engine, echo, --model-name, echo]}"

    private static func manifest(worker: String = Self.worker, more: String = "") -> String {
        """
        name: chat
        model: echo
        planes: tcp
        infrastructure: {nats: managed}
        migration: {observe: 3s, startTimeout: 40s}
        \(more)
        processes:
          frontend: {builtin: frontend}
          worker: \(worker)
        """
    }

    /// A worker on Dynamo's own runtime, with a fault of `faulty_worker.py` that is there while a file is.
    private static func faulty(_ fault: String, _ file: URL) throws -> String {
        let script = TestEnvironment.root.appending(path: "Tests/Fixtures/Dynamo/faulty_worker.py").path()
        return """
            {command: [/usr/bin/env, DYN_EVENT_PLANE=zmq, "\(try TestEnvironment.python(.v121))", "\(script)", \(fault), "\(file.path())", \
            --model-path, "\(try TestEnvironment.model())", --model-name, echo, --endpoint, "{{namespace}}.backend.generate"], \
            role: worker, kubernetes: {image: "local-python:1"}}
            """
    }

    @Test func `a deployment moves from plane to plane under load, also when the script is killed`() async throws {
        try await FakeCluster.run("chat") { cluster in
            let manifest = Self.manifest()
            try await cluster.start(try await cluster.generate(manifest, into: "first"))
            let toHTTP = try await cluster.generate(manifest, into: "to-http", "--migrate-to", "http")
            let toNATS = try await cluster.generate(
                manifest,
                into: "to-nats",
                "--http",
                "--generation",
                "2",
                "--migrate-to",
                "nats"
            )
            let totals = try await SteadyClients.run(
                cluster.clients,
                model: "echo",
                count: 4,
                rate: 3,
                library: 4,
                hasIDs: false
            ) { _ in
                // Two people at once: the API server lets one of them do it.
                async let one = cluster.migrate(toHTTP, "all", "--retire")
                async let other = cluster.migrate(toHTTP, "all", "--retire")
                let both = try await [one, other]
                let refused = try #require(both.first { $0.exit == .code(1) }, "\(both)")
                #expect(refused.output.contains("another run is at it: "), "\(refused.output)")
                #expect(!refused.output.contains("is created"), "\(refused.output)")
                let first = try #require(both.first { $0.exit != .code(1) }, "\(both)")
                #expect(first.exit == .code(0), "\(first.output)")
                #expect(
                    first.output.hasSuffix("chat: generation 1 is gone; generation 2 (http) serves\n"),
                    "\(first.output)"
                )
                #expect(try await cluster.objects(generation: 1) == [])

                // Killed three times: each time the next run goes on from there.
                try await cluster.migrate(toNATS, killedAfter: "waiting for generation 3", "all")
                try await cluster.migrate(toNATS, killedAfter: "clients are led to generation 3", "all")
                try await cluster.migrate(toNATS, killedAfter: "watched for", "all", "--retire")
                let last = try await cluster.migrate(toNATS, "all", "--retire")
                #expect(last.exit == .code(0), "\(last.output)")
                #expect(
                    last.output.hasSuffix("chat: generation 2 is gone; generation 3 (nats) serves\n"),
                    "\(last.output)"
                )
                #expect(try await cluster.objects(generation: 2) == [])
            }
            #expect(totals.failures == [])
            #expect(totals.requests > 100, "\(totals)")
            // Once more: there is nothing left to do, and nothing is done.
            let again = try await cluster.migrate(toNATS, "all", "--retire")
            #expect(again.exit == .code(0) && again.output.contains("nothing is left to do"), "\(again.output)")
            let planes = try await cluster.kubectl(
                "get",
                "configmap",
                "g3-chat-planes",
                "-o",
                "jsonpath={.data.DYN_REQUEST_PLANE}"
            )
            #expect(planes == "nats")
            let back = try await cluster.migrate(toNATS, "rollback")
            #expect(back.exit == .code(3), "\(back.output)")
            #expect(back.output.contains("it cannot be gone back to"), "\(back.output)")
        }
    }

    @Test func `what goes wrong is taken back, and the exit code says so`() async throws {
        try await FakeCluster.run("chat") { cluster in
            try await cluster.start(try await cluster.generate(Self.manifest(), into: "first"))
            let fault = cluster.directory.appending(path: "fault")
            let before = try await cluster.objects(generation: 1)
            let totals = try await SteadyClients.run(
                cluster.clients,
                model: "echo",
                count: 3,
                library: 3,
                hasIDs: false
            ) { _ in
                // Ctrl-C in the moment in which clients are led over.
                let healthy = try await cluster.generate(Self.manifest(), into: "healthy", "--migrate-to", "http")
                let stopped = try await cluster.migrate(healthy, SIGINT, after: "clients are led to", ["all"])
                #expect(stopped.exit == .code(2), "\(stopped.output)")
                for words in ["it was interrupted", "clients are led back to generation 1", "taken back: generation 1"]
                {
                    #expect(stopped.output.contains(words), "\(stopped.output)")
                }
                #expect(try await cluster.objects(generation: 2) == [])
                // A worker that cannot be started.
                let broken = Self.manifest(worker: "{builtin: worker, args: [--no-such-option]}")
                try await Self.takesBack(
                    cluster,
                    try await cluster.generate(broken, into: "broken", "--migrate-to", "http"),
                    because: "a container of generation 2 ended 5 times before it was ready",
                    "--no-such-option"
                )
                // One that nobody hears of: its pod is ready, and the frontend's is not.
                try Data().write(to: fault)
                let silent = Self.manifest(worker: try Self.faulty("silent", fault))
                try await Self.takesBack(
                    cluster,
                    try await cluster.generate(silent, into: "silent", "--migrate-to", "http"),
                    "--timeout",
                    "5s",
                    because: "generation 2 is not ready within 5 s"
                )
                try FileManager.default.removeItem(at: fault)
                // One that fails once it has clients; a run that is killed while it is taken back is gone on with.
                let failing = try await cluster.generate(
                    Self.manifest(worker: try Self.faulty("all", fault)),
                    into: "failing",
                    "--migrate-to",
                    "http"
                )
                try await Self.fails(cluster, failing, fault: fault)
            }
            // What clients did not get is what the last twin answered wrongly, and no more.
            #expect(totals.failures.allSatisfy { $0.contains("the worker fails every request") }, "\(totals.failures)")
            #expect(
                try await cluster.objects(generation: 1).filter { !$0.hasPrefix("pod/") }
                    == before.filter { !$0.hasPrefix("pod/") }
            )
        }
    }

    @Test func `frontends and workers of Dynamo itself move too`() async throws {
        let model = try TestEnvironment.model()
        let manifest = """
            name: chat
            model: \(model)
            planes: {request: http, events: none}
            infrastructure: {nats: managed}
            migration: {observe: 2s, startTimeout: 60s}
            kubernetes: {discovery: etcd}
            processes:
              frontend: {module: dynamo.frontend}
              worker: {module: dynamo.mocker, args: [--model-path, "\(model)"]}
            """
        try await FakeCluster.run("chat") { cluster in
            let release = ["--dynamo-release", "1.2.1"]
            try await cluster.start(try await cluster.generate(manifest, into: "first", release), model: model)
            let toNATS = try await cluster.generate(manifest, into: "to-nats", release + ["--migrate-to", "nats"])
            let totals = try await SteadyClients.run(
                cluster.clients,
                model: model,
                count: 2,
                rate: 3,
                library: 2,
                generates: true,
                hasIDs: false
            ) { _ in
                let ending = try await cluster.migrate(toNATS, "all", "--retire", within: .seconds(90))
                #expect(ending.exit == .code(0), "\(ending.output)")
                #expect(ending.output.hasSuffix("chat: generation 1 is gone; generation 2 (nats) serves\n"))
                #expect(ending.output.contains("; at the frontends "), "\(ending.output)")
            }
            #expect(totals.failures == [])
            #expect(totals.requests > 50, "\(totals)")
        }
    }

    /// What the HTTPRoute leads to: `NAME=WEIGHT `.
    private static func backends(_ cluster: FakeCluster) async throws -> String {
        try await cluster.kubectl(
            "get",
            "httproute",
            "chat",
            "-o",
            "jsonpath={range .spec.rules[0].backendRefs[*]}{.name}={.weight} {end}"
        )
    }

    @Test func `an HTTPRoute moves by weights, the next time too, and nothing that is repeated moves clients back`()
        async throws
    {
        try await FakeCluster.run("chat") { cluster in
            let manifest = Self.manifest(more: "kubernetes: {route: {gateway: edge}}")
                .replacingOccurrences(of: "observe: 3s", with: "observe: 1s, steps: [50, 100]")
            try await cluster.start(try await cluster.generate(manifest, into: "first"))
            let toHTTP = try await cluster.generate(manifest, into: "to-http", "--migrate-to", "http")
            let toTCP = try await cluster.generate(
                manifest,
                into: "to-tcp",
                "--http",
                "--generation",
                "2",
                "--migrate-to",
                "tcp"
            )
            // Nobody is there to be asked: that is found before anything is done.
            let unasked = try await cluster.run("\(toHTTP)/migrate.sh", ["all"])
            #expect(unasked.exit == .code(1) && unasked.output.contains("nothing was done"), "\(unasked.output)")
            #expect(try await cluster.objects(generation: 2) == [])

            let first = try await cluster.migrate(toHTTP, "all")
            #expect(first.exit == .code(0), "\(first.output)")
            #expect(try await Self.backends(cluster) == "chat-own=0 g2-chat-own=100 ")
            let applied = try await cluster.migrate(toHTTP, "apply")
            #expect(applied.exit == .code(1), "\(applied.output)")
            #expect(applied.output.contains("clients are with generation 2"), "\(applied.output)")
            let switched = try await cluster.migrate(toHTTP, "switch")
            #expect(switched.exit == .code(0), "\(switched.output)")
            #expect(try await Self.backends(cluster) == "chat-own=0 g2-chat-own=100 ")
            let finished = try await cluster.migrate(toHTTP, "finish")
            #expect(finished.exit == .code(0), "\(finished.output)")
            #expect(try await Self.backends(cluster) == "chat=1 ")
            let over = try await cluster.migrate(toHTTP, "apply")
            #expect(over.exit == .code(1) && over.output.contains("has nothing to do"), "\(over.output)")
            #expect(try await cluster.objects(generation: 1) == [])

            // The route is there, and is another one now.
            let second = try await cluster.migrate(toTCP, "all")
            #expect(second.exit == .code(0), "\(second.output)")
            #expect(second.output.contains("50 percent of the HTTPRoute's requests go to generation 3"))
            #expect(try await Self.backends(cluster) == "g2-chat-own=0 g3-chat-own=100 ")
            let models = try await HTTPRequests.get("\(cluster.gateway)/v1/models", limit: 5)
            #expect(models.status == 200)
            let back = try await cluster.migrate(toTCP, "rollback")
            #expect(back.exit == .code(0), "\(back.output)")
            #expect(try await Self.backends(cluster) == "g2-chat-own=100 g3-chat-own=0 ")
            #expect(try await HTTPRequests.get("\(cluster.gateway)/v1/models", limit: 5).status == 200)
        }
    }

    /// Switches to a generation whose worker begins to fail then.
    private static func fails(_ cluster: FakeCluster, _ folder: String, fault: URL) async throws {
        for command in ["apply", "wait", "verify", "switch"] {
            let step = try await cluster.migrate(folder, command)
            #expect(step.exit == .code(0), "\(command): \(step.output)")
        }
        try Data().write(to: fault)
        try await cluster.migrate(folder, killedAfter: "clients are led back to generation 1", "observe")
        let rest = try await cluster.migrate(folder, "all")
        #expect(rest.exit == .code(2), "\(rest.output)")
        #expect(rest.output.contains("an earlier run was taking generation 2 back"), "\(rest.output)")
        #expect(try await cluster.objects(generation: 2) == [])
        try FileManager.default.removeItem(at: fault)
    }

    private static func takesBack(
        _ cluster: FakeCluster,
        _ folder: String,
        _ arguments: String...,
        because reasons: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let ending = try await cluster.run("\(folder)/migrate.sh", ["all", "--yes"] + arguments)
        #expect(ending.exit == .code(2), "\(ending.output)", sourceLocation: sourceLocation)
        for reason in reasons + ["taken back: generation 1 (tcp) serves as before"] {
            #expect(ending.output.contains(reason), "\(ending.output)", sourceLocation: sourceLocation)
        }
        #expect(try await cluster.objects(generation: 2) == [], sourceLocation: sourceLocation)
    }
}
