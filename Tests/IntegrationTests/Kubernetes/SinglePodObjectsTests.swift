import Foundation
import TestSupport
import Testing

/// What `generate k8s --single-pod` writes of the manifests that come with the launcher.
@Suite struct SinglePodObjectsTests {
    /// The manifests, as paths below the checkout.
    private static var manifests: [String] {
        let root = TestEnvironment.root.appending(path: "launch")
        let found = FileManager.default.enumerator(atPath: root.path())
        return (found?.allObjects ?? []).compactMap { $0 as? String }.filter { $0.hasSuffix(".yaml") }.sorted()
    }

    @Test func `every object is valid for every release of Kubernetes, and a kustomization builds`() async throws {
        #expect(Self.manifests.count >= 20)
        try await withTemporaryDirectory { directory in
            for manifest in Self.manifests {
                // Its events are kept in JetStream, which later releases of Dynamo do not.
                let release = manifest.hasSuffix("relay.yaml") ? "1.2.1" : "1.6.1"
                let folder = directory.appending(path: manifest.dropLast(5).replacing("/", with: "-")).path()
                let (said, exit) = try await Launcher.run(
                    [
                        "generate", "k8s", "--single-pod", "--dynamo-release", release, "--kustomize", "--output",
                        folder,
                        TestEnvironment.root.appending(path: "launch/\(manifest)").path(),
                    ],
                    environment: ["MODEL_PATH": "/models/tiny"]
                )
                #expect(exit == .code(0), "\(manifest): \(said)")
            }
            let script = TestEnvironment.root.appending(path: "Tests/Fixtures/Kubernetes/validate.py").path()
            let kinds = ["Deployment", "Service", "ConfigMap", "NetworkPolicy", "ServiceAccount"]
            let (output, exit) = try await withProgram(
                try TestEnvironment.kubernetesTool("python"),
                [script] + kinds.flatMap { ["--require", $0] } + [directory.path()]
            ) { program in
                try await program.waitForExit(within: .seconds(120))
                return program.output
            }
            #expect(exit == .code(0), "\(output)")
            #expect(output.contains("\(Self.manifests.count * 5) objects, 8 releases, 0 failures"), "\(output)")
            let (built, ending) = try await withProgram(
                try TestEnvironment.kubernetesTool("kubectl"),
                ["kustomize", directory.appending(path: "embedded").path()]
            ) { program in
                try await program.waitForExit()
                return program.output
            }
            #expect(ending == .code(0) && built.contains("name: embedded-launcher"), "\(built)")
        }
    }
}
