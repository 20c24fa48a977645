import Foundation
import OrderedCollections
import Testing

@testable import Deployment

/// What `generate k8s --migrate-to` writes.
@Suite
struct KubernetesMigrationFileTests {
    private static let graph = """
        name: chat
        model: Qwen/Qwen3-0.6B
        planes: {planes}
        kubernetes: {kubernetes}
        processes:
          frontend: {module: dynamo.frontend}
          worker: {module: dynamo.mocker, replicas: 2, args: [--model-path, "{{model}}"]}
        """

    private static func migration(
        kubernetes: String = "{}",
        flavor: KubernetesMigration.Flavor = .plain,
        edit: (String) -> String = { $0 }
    ) throws -> KubernetesMigration {
        func plan(_ plane: String, _ generation: Int) throws -> ClusterPlan {
            let text = self.graph.replacingOccurrences(of: "{planes}", with: plane)
                .replacingOccurrences(of: "{kubernetes}", with: kubernetes)
            return try ClusterCase(edit(text), release: DynamoRelease(1, 2, 1), generation: generation).plan()
        }
        let (old, new) = (try plan("tcp", 1), try plan("http", 2))
        func objects(_ plan: ClusterPlan) throws -> [KubernetesObject] {
            flavor == .graph
                ? try OperatorObjects.objects(of: plan) : PlainObjects.objects(of: plan)
        }
        return try KubernetesMigration(from: old, try objects(old), to: new, try objects(new), flavor: flavor)
    }

    private static func text(_ migration: KubernetesMigration, _ name: String) throws -> String {
        try #require(migration.files.first { $0.name == name }?.text, "\(migration.files.map(\.name))")
    }

    @Test func `the next generation is written without what leads clients to it`() throws {
        let migration = try Self.migration()
        let services = try Self.text(migration, "generation-2/05-services.yaml")
        #expect(services.contains("name: g2-chat-own"))
        #expect(!services.contains("name: chat\n"))
        let forward = try Self.text(migration, "switch.yaml")
        let back = try Self.text(migration, "rollback.yaml")
        #expect(forward.contains("name: chat\n") && forward.contains("dynamo-launch/generation: \"2\""))
        #expect(back.contains("name: chat\n") && back.contains("dynamo-launch/generation: \"1\""))
        // What goes with one generation is nothing of the other, and nothing of the clients'.
        let old = Set(migration.objectsOfCurrent.map(MigrationVariables.reference))
        let new = Set(migration.objectsOfNext.map(MigrationVariables.reference))
        #expect(old.isDisjoint(with: new))
        #expect(!old.contains("service/chat") && !new.contains("service/chat"))
        #expect(old.contains("deployment.v1.apps/chat-worker") && new.contains("deployment.v1.apps/g2-chat-worker"))
        #expect(migration.pods == 3)
        let script = try #require(migration.files.first { $0.name == "migrate.sh" })
        #expect(script.isExecutable)
        #expect(script.text.contains("old_frontends=('deployment.v1.apps/chat-frontend')\n"))
    }

    @Test func `nothing is noted of steps that the manifest does not have`() throws {
        func hasNote(_ more: String) throws -> Bool {
            try Self.migration { $0 + "\n" + more }.notes.contains { $0.hasPrefix("migration.steps") }
        }
        #expect(try !hasNote(""))
        #expect(try hasNote("migration: {steps: [10, 100]}"))
    }

    @Test func `a route moves by weights, and Flagger can move it`() throws {
        let migration = try Self.migration(kubernetes: "{route: {gateway: edge, hostnames: [chat.example]}}")
        let route = try Self.text(migration, "route.yaml")
        // The route is there since the deployment is, and no generation's.
        #expect(!migration.files.contains { $0.name.contains("httproutes") }, "\(migration.files.map(\.name))")
        let gone = migration.objectsOfCurrent + migration.objectsOfNext
        #expect(!gone.contains { $0.kind == "HTTPRoute" })
        #expect(route.contains("name: chat-own\n") && route.contains("weight: 100\n"))
        #expect(route.contains("name: g2-chat-own\n") && route.contains("weight: 0\n"))
        let done = try Self.text(migration, "route-done.yaml")
        #expect(!done.contains("own"))
        let plain = PlainObjects.objects(of: migration.next).filter { $0.kind == "HTTPRoute" }
        #expect(done.hasSuffix("\n\(YAMLValue.documents(plain.map(\.yaml)))"), "it ends as it would begin")
        #expect(try Self.text(migration, "migrate.sh").contains("\nsteps='5,25,100'\n"))
        let canary = try Self.text(migration, "flagger/begin.yaml")
        #expect(canary.contains("kind: Canary") && canary.contains("apiVersion: core/v1"))
        // A built-in metric would be one that this Gateway may not have.
        #expect(!canary.contains("name: request-success-rate") && canary.contains("at most 2 percent"))
        #expect(try Self.text(migration, "argo-rollouts/switch.yaml").contains("name: g2-chat-frontend"))
    }

    @Test func `a graph's frontends are scaled to none before it goes`() throws {
        let migration = try Self.migration(flavor: .graph)
        let script = try Self.text(migration, "migrate.sh")
        #expect(
            script.contains("\nold_graph='dynamographdeployment.v1beta1.nvidia.com/chat'\n"),
            "\(script.prefix(3000))"
        )
        #expect(script.contains(#"old_graph_patch='[{"op": "add", "path": "/spec/components/"#))
        #expect(script.contains("\nselector_from='chat'\nselector_to='g2-chat'\n"))
        #expect(script.contains("\nworkloads=()\n"))
        #expect(!migration.files.contains { $0.name.hasPrefix("argo-rollouts/") })
    }

    @Test func `the operator's frontends are asked where they listen, and one with an autoscaler is not scaled`() throws
    {
        let elsewhere = try Self.migration(flavor: .graph) { text in
            text.replacingOccurrences(of: "dynamo.frontend}", with: "dynamo.frontend, ports: {http: 9000}}")
        }
        #expect(elsewhere.frontendPort == 8000)
        #expect(try Self.text(elsewhere, "migrate.sh").contains("frontend_port=8000\n"))
        let scaled = try Self.migration(flavor: .graph) { text in
            text.replacingOccurrences(
                of: "dynamo.frontend}",
                with: "dynamo.frontend, kubernetes: {requests: {cpu: 1}, autoscaling: {max: 3}}}"
            )
        }
        let script = try Self.text(scaled, "migrate.sh")
        #expect(script.contains("\nold_graph='dynamographdeployment.v1beta1.nvidia.com/chat'\n"))
        #expect(script.contains("\nold_graph_patch=''\nnew_graph_patch=''\n"))
    }

    @Test(arguments: [KubernetesMigration.Flavor.plain, .graph])
    func `servers of the planes are waited for before what needs them`(_ flavor: KubernetesMigration.Flavor) throws {
        let script = try Self.text(
            try Self.migration(flavor: flavor) {
                $0.replacing(/planes: (\w+)/) { "planes: {request: \($0.1), events: nats-core}" }
                    + "\ninfrastructure: {nats: managed}\n"
            },
            "migrate.sh"
        )
        #expect(script.contains("\nservers=('statefulset.v1.apps/chat-nats')\n"), "\(script.prefix(3000))")
        #expect(!script.contains("workloads=('statefulset"))
    }

    @Test func `Argo is told what comes after promote, and keeps old frontends no longer than the script waits`() throws
    {
        let migration = try Self.migration { $0 + "\nmigration: {rollbackWindow: 1h}\n" }
        let text = try Self.text(migration, "argo-rollouts/switch.yaml")
        #expect(text.contains("After promote: kubectl apply -f ../switch.yaml"))
        #expect(text.contains("scaleDownDelaySeconds: 30\n") && migration.stopTimeout > 60)
    }

    /// What Argo Rollouts makes of a metric: arguments by their names, once, from the left.
    private static func resolved(_ text: String, _ arguments: [String: String]) throws -> String {
        var (result, rest) = ("", text[...])
        while let open = rest.range(of: "{{") {
            result += rest[..<open.lowerBound]
            rest = rest[open.upperBound...]
            let close = try #require(rest.range(of: "}}"), "no end of \(rest)")
            let name = String(rest[..<close.lowerBound])
            result += try #require(arguments[name], "Argo has no \(name)")
            rest = rest[close.upperBound...]
        }
        return result + rest
    }

    @Test(arguments: ["{{a}}", "{{{b}}", "x{{args.namespace}}y", "{{", "{{{{c", "}} {d} {", "{{{{args.braces}}}}"])
    func `braces in a text mean nothing to Argo's templates`(_ text: String) throws {
        #expect(
            try Self.resolved(MigrationTools.literal(text), ["args.braces": "{{", "args.namespace": "default"]) == text
        )
        let migration = try Self.migration {
            $0.replacingOccurrences(of: "model: Qwen/Qwen3-0.6B", with: "model: '\(text)'")
        }
        let begin = try Self.text(migration, "argo-rollouts/begin.yaml")
        #expect(begin.contains(MigrationTools.literal(text)), "\(begin)")
        #expect(begin.contains("name: braces\n") == text.contains("{{"), "\(begin)")
    }

    @Test func `nothing in a manifest becomes a word of the script`() throws {
        let hostile = #"it's $(touch /tmp/x) `id` \"q\" \\ \n ünï"#
        let migration = try Self.migration { text in
            text.replacingOccurrences(of: "model: Qwen/Qwen3-0.6B", with: "model: \"\(hostile)\"")
        }
        let variables = try #require(
            try Self.text(migration, "migrate.sh").components(separatedBy: "\n\nusage()").first
        )
        let process = Process()
        process.executableURL = URL(filePath: "/bin/bash")
        process.arguments = ["-c", variables + "\nprintf %s \"$model_json\""]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let output = try #require(try pipe.fileHandleForReading.readToEnd())
        process.waitUntilExit()
        let decoded = try JSONDecoder().decode([String].self, from: Data("[".utf8) + output + Data("]".utf8))
        #expect(decoded == ["it's $(touch /tmp/x) `id` \"q\" \\ \n ünï"])
    }

    @Test func `a name that gets too long is refused`() throws {
        let name = String(repeating: "n", count: 58)
        #expect(throws: ManifestErrors.self) {
            try Self.migration { $0.replacingOccurrences(of: "name: chat", with: "name: \(name)") }
        }
    }
}
