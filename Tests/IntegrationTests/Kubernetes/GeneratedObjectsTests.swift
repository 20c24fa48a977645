import Foundation
import TestSupport
import Testing

/// What is in `k8s/`, before the judges of Kubernetes objects.
@Suite struct GeneratedObjectsTests {
    static let folder = TestEnvironment.root.appending(path: "k8s").path()
    static let fixtures = TestEnvironment.root.appending(path: "Tests/Fixtures/Kubernetes")

    /// Runs a tool to its end.
    static func run(_ tool: String, _ arguments: [String]) async throws -> (output: String, exit: ProgramExit) {
        let (output, exit) = try await withProgram(try TestEnvironment.kubernetesTool(tool), arguments) { program in
            try await program.waitForExit(within: .seconds(120))
            return program.output
        }
        return (output, exit)
    }

    /// Holds objects to the schemas of all releases.
    static func validate(_ paths: String..., requiring kinds: [String] = []) async throws -> (String, ProgramExit) {
        let script = Self.fixtures.appending(path: "validate.py").path()
        return try await Self.run("python", [script] + kinds.flatMap { ["--require", $0] } + paths)
    }

    @Test func `every object fits the schemas of eight releases of Kubernetes, with no unknown field`() async throws {
        let kinds = [
            "DynamoGraphDeployment", "Service", "Deployment", "ConfigMap", "NetworkPolicy", "StatefulSet",
            "ServiceAccount", "Role", "RoleBinding", "CustomResourceDefinition", "PodDisruptionBudget",
        ]
        let (output, exit) = try await Self.validate(Self.folder, requiring: kinds)
        #expect(exit == .code(0), "\(output)")
        let count = try #require(output.firstMatch(of: /(\d+) objects, 8 releases, 0 failures/))
        #expect(Int(count.1) ?? 0 > 300)
    }

    /// Files of a migration that a cluster gets at different times hold the same objects, so each group is judged by itself.
    @Test func `every object of a migration fits them too`() async throws {
        let manifest = """
            name: chat
            model: echo
            infrastructure: {nats: managed}
            kubernetes: {route: {gateway: public}}
            processes:
              frontend: {builtin: frontend}
              worker: {builtin: worker, args: [--engine, echo, --model-name, "{{model}}"]}
            """
        try await withTemporaryDirectory { folder in
            let file = folder.appending(path: "chat.yaml")
            try Data(manifest.utf8).write(to: file)
            let target = folder.appending(path: "to-nats")
            let arguments = ["generate", "k8s", file.path(), "--migrate-to", "nats", "--output", target.path()]
            let (output, exit) = try await withProgram(Launcher.path, arguments) { program in
                try await program.waitForExit(within: .seconds(30))
                return program.output
            }
            #expect(exit == .code(0), "\(output)")
            func path(_ name: String) -> String { target.appending(path: name).path() }
            let first = try await Self.validate(
                path("generation-2"),
                path("switch.yaml"),
                path("route.yaml"),
                path("argo-rollouts/begin.yaml"),
                path("flagger/begin.yaml"),
                requiring: ["Rollout", "AnalysisTemplate", "Canary", "HTTPRoute", "StatefulSet"]
            )
            #expect(first.1 == .code(0), "\(first.0)")
            let second = try await Self.validate(
                path("rollback.yaml"),
                path("route-done.yaml"),
                path("argo-rollouts/switch.yaml"),
                path("flagger/switch.yaml")
            )
            #expect(second.1 == .code(0), "\(second.0)")
        }
    }

    @Test func `the judge finds what is wrong`() async throws {
        try await withTemporaryDirectory { try await self.judgeFinds($0) }
    }

    private func judgeFinds(_ folder: URL) async throws {
        let wrong = [
            "spec: {selector: {a: b}, prots: []}": "prots",
            "spec: {selector: {a: b}, ports: [{port: '80'}]}": "'80'",
            "spec: {selector: {a: b}, ports: [{port: 80}], ports: []}": "comes twice",
        ]
        for (spec, word) in wrong {
            let file = folder.appending(path: "wrong.yaml")
            try Data("apiVersion: v1\nkind: Service\nmetadata: {name: x}\n\(spec)\n".utf8).write(to: file)
            let (output, exit) = try await Self.validate(file.path())
            #expect(exit == .code(1) && output.contains(word), "\(output)")
        }
        let graph = folder.appending(path: "graph.yaml")
        let head = "apiVersion: nvidia.com/v1beta1\nkind: DynamoGraphDeployment\nmetadata: {name: x}\n"
        let pod = "podTemplate: {spec: {containers: [{name: %, image: y}]}}"
        for (spec, isFine) in [
            ("{name: a, type: worker, \(pod.replacing("%", with: "main"))}", true),
            ("{name: a, type: worker, \(pod.replacing("%", with: "other"))}", false),
            ("{name: a, type: router, \(pod.replacing("%", with: "main"))}", false),
            ("{name: a, componentType: worker, \(pod.replacing("%", with: "main"))}", false),
        ] {
            try Data("\(head)spec: {components: [\(spec)]}\n".utf8).write(to: graph)
            let (output, exit) = try await Self.validate(graph.path())
            #expect(exit == .code(isFine ? 0 : 1), "\(spec): \(output)")
        }
        let (output, exit) = try await Self.validate(folder.appending(path: "none").path())
        #expect(exit == .code(1), "\(output)")
    }

    @Test func `kubectl builds every folder`() async throws {
        let script = """
            set -e
            count=0
            for file in $(find "$2" -name kustomization.yaml); do
                "$1" kustomize "${file%/*}" >/dev/null || { echo "failed: $file"; exit 1; }
                count=$((count + 1))
            done
            echo "built $count"
            """
        let kubectl = try TestEnvironment.kubernetesTool("kubectl")
        let (output, exit) = try await withProgram("/bin/sh", ["-c", script, "sh", kubectl, Self.folder]) { program in
            try await program.waitForExit(within: .seconds(120))
            return program.output
        }
        #expect(exit == .code(0), "\(output)")
        let count = try #require(output.firstMatch(of: /built (\d+)/))
        #expect(Int(count.1) ?? 0 >= 40)
    }

    /// Findings of the linter that are argued in docs/kubernetes.md, "What was checked".
    static let argued: Set<String> = [
        "CKV_K8S_10", "CKV_K8S_11", "CKV_K8S_12", "CKV_K8S_13", "CKV_K8S_15", "CKV_K8S_21", "CKV_K8S_22", "CKV_K8S_38",
        "CKV_K8S_40", "CKV_K8S_43", "CKV_K8S_116", "CKV_K8S_117", "CKV_K8S_119",
    ]

    @Test func `a policy linter finds nothing but what the documentation argues`() async throws {
        try await withTemporaryDirectory { try await self.lint($0) }
    }

    private func lint(_ folder: URL) async throws {
        let pods = Self.fixtures.appending(path: "pods_of_graphs.py").path()
        let (listed, made) = try await Self.run("python", [pods, Self.folder, folder.path()])
        #expect(made == .code(0), "\(listed)")
        var seen: Set<String> = []
        for place in [Self.folder, folder.path()] {
            let (output, _) = try await Self.run(
                "checkov",
                ["--framework", "kubernetes", "--compact", "--skip-download", "--soft-fail", "-d", place]
            )
            #expect(
                output.contains("Passed checks: ") && !output.contains("Passed checks: 0,"),
                "\(output.prefix(2000))"
            )
            for match in output.matches(of: /Check: (CKV2?_K8S_\d+): (.*)\n\s*FAILED for resource: (.*)/) {
                seen.insert(String(match.1))
                #expect(Self.argued.contains(String(match.1)), "\(match.1) \(match.2): \(match.3)")
            }
        }
        #expect(seen == Self.argued, "argued, and not found: \(Self.argued.subtracting(seen).sorted())")
        let text = try String(contentsOf: TestEnvironment.root.appending(path: "docs/kubernetes.md"), encoding: .utf8)
        for check in Self.argued { #expect(text.contains("`\(check)`"), "docs/kubernetes.md does not argue \(check)") }
    }
}
