import OrderedCollections

@testable import Deployment

/// A manifest that is planned for a cluster.
struct ClusterCase {
    var manifest: ManifestCase
    var release: DynamoRelease? = DynamoRelease(1, 6, 1)
    var generation = 1
    var isSinglePod = false

    init(_ text: String, release: DynamoRelease? = DynamoRelease(1, 6, 1), generation: Int = 1) {
        self.manifest = ManifestCase(text)
        self.release = release
        self.generation = generation
    }

    /// One of those that come with the launcher.
    init(launch name: String) throws {
        let path = "launch/\(name).yaml"
        self.manifest = ManifestCase(path: path, bytes: try Fixtures.bytes(path))
        self.manifest.environment["MODEL_PATH"] = "/model"
        let manifest = try self.manifest.manifest()
        self.release = manifest.usesDynamo ? manifest.dynamo.release?.value ?? DynamoRelease(1, 6, 1) : nil
    }

    /// The names of all that come with the launcher, with their folders.
    static let launch: [String] = {
        let folders = ["", "embedded/", "mocker/", "sglang/", "trtllm/"]
        return folders.flatMap { folder in
            ((try? Fixtures.names(in: "launch/\(folder)", ending: "yaml")) ?? []).map { folder + $0 }
        }
    }()

    func plan() throws(ManifestErrors) -> ClusterPlan {
        try ClusterPlanner.plan(
            self.manifest.manifest(),
            ClusterPlanner.Options(
                release: self.release,
                generation: self.generation,
                version: "0.1.0",
                environment: self.manifest.environment,
                workingDirectory: "/srv/demo",
                passthroughArguments: self.manifest.arguments,
                isSinglePod: self.isSinglePod
            )
        )
    }
}

extension YAMLValue {
    /// What stands at a path: keys of mappings, and numbers of items.
    func at(_ path: String...) -> YAMLValue? { self.value(at: path[...]) }

    private func value(at path: ArraySlice<String>) -> YAMLValue? {
        guard let first = path.first else { return self }
        switch self {
        case .keyed(let fields): return fields[first]?.value(at: path.dropFirst())
        case .list(let items):
            guard let index = Int(first), items.indices.contains(index) else { return nil }
            return items[index].value(at: path.dropFirst())
        default: return nil
        }
    }

    var items: [YAMLValue] { if case .list(let items) = self { items } else { [] } }

    var text: String? { if case .text(let text) = self { text } else { nil } }

    /// A list of `{name, value}` as a dictionary; a reference is its mapping's text.
    var variableTexts: [String: String] {
        var variables: [String: String] = [:]
        for item in self.items {
            variables[item.at("name")?.text ?? ""] = item.at("value")?.text ?? item.at("valueFrom")?.document
        }
        return variables
    }
}
