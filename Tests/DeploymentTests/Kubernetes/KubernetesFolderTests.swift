import Foundation
import Testing

@testable import Deployment

/// `k8s/` is what `dynamo-launch generate k8s` writes for the manifests that come with it.
///
/// `UPDATE_K8S=1` writes it anew.
@Suite
struct KubernetesFolderTests {
    static let flavors = ["operator", "plain"]

    static func files(_ name: String, _ flavor: String) throws -> [ObjectFiles.File] {
        let plan = try ClusterCase(launch: name).plan()
        let objects = flavor == "operator" ? try OperatorObjects.objects(of: plan) : PlainObjects.objects(of: plan)
        return ObjectFiles(objects, kustomize: true).files
    }

    @Test(arguments: ClusterCase.launch)
    func objectsAreAsTheyWere(name: String) throws {
        for flavor in Self.flavors {
            let folder = Fixtures.repository.appending(path: "k8s/\(name)/\(flavor)")
            let files = try Self.files(name, flavor)
            if ProcessInfo.processInfo.environment["UPDATE_K8S"] == "1" {
                try? FileManager.default.removeItem(at: folder)
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
                for file in files { try Data(file.text.utf8).write(to: folder.appending(path: file.name)) }
            }
            let present = try FileManager.default.contentsOfDirectory(atPath: folder.path(percentEncoded: false))
            #expect(present.sorted() == files.map(\.name).sorted(), "\(name) \(flavor)")
            for file in files {
                let text = String(decoding: try Data(contentsOf: folder.appending(path: file.name)), as: UTF8.self)
                #expect(
                    text == file.text,
                    "k8s/\(name)/\(flavor)/\(file.name) is not what is rendered: run this with UPDATE_K8S=1"
                )
            }
        }
    }

    /// What the README says must be there before they run is all that they refer to.
    @Test func nothingIsReferredToThatTheReadmeDoesNotName() throws {
        for name in ClusterCase.launch {
            let plan = try ClusterCase(launch: name).plan()
            #expect(plan.secretNotes.isEmpty, "\(name)")
            #expect(plan.processes.allSatisfy { $0.settings.volumes.isEmpty }, "\(name)")
            for process in plan.processes {
                // What is below /workspace is in Dynamo's images.
                let words = process.arguments.filter { $0.hasPrefix("/") && !$0.hasPrefix("/workspace/") }
                #expect(words.allSatisfy { $0 == "/model" }, "\(name): \(words)")
            }
        }
        let readme = try Fixtures.text("k8s/README.md")
        for word in ["`/model`", "kubernetes.volumes", "no Secret", "kubernetes.images.launcher"] {
            #expect(readme.contains(word), "\(word)")
        }
    }

    @Test func everyManifestHasItsFolders() throws {
        #expect(ClusterCase.launch.count >= 20)
        let root = Fixtures.repository.appending(path: "k8s")
        let paths = try FileManager.default.subpathsOfDirectory(atPath: root.path(percentEncoded: false))
        let folders = paths.filter { path in Self.flavors.contains { path.hasSuffix("/\($0)") } }
        let wanted = ClusterCase.launch.flatMap { name in Self.flavors.map { "\(name)/\($0)" } }
        #expect(folders.sorted() == wanted.sorted())
    }
}
