import Deployment
import Foundation
import TestSupport
import Testing

/// Texts of a manifest that look like something else in YAML, to a shell or to the kubelet.
@Suite struct HostileManifestTests {
    /// As they are to reach the program.
    static let texts = [
        ": injected\nkind: Secret\nmetadata:\n  name: stolen", "a\n---\napiVersion: v1\nkind: Pod\n", "- a\n- b",
        "{a: b}",
        "[1, 2", "yes", "No", "null", "~", "true", "0x10", "1e3", "012", "1_000", "12:30:45", "2001-01-01", ".inf",
        "-.5",
        "=", "<<", "# no comment", "a #b", "a: b", "&anchor", "*alias", "!tag", "!!python/object:os.system",
        "%YAML 1.1", "@at",
        "`tick`", "| block", "> folded", "'single'", "\"double\"", "\\ \\n \\x41", " leading", "trailing ", "\ttab\t",
        "one\n", "two\n\n", "\nfirst", "a\n  indented\n b\n", "windows\r\nline\r\n", "naïve – 🚀 – 漢字",
        "\u{2028}\u{2029}\u{85}",
        "a \u{FEFF}mark", "e\u{301}", "\u{202E}backwards", "$(HOME)", "$$(HOME)", "$", "$$", "a$b", "$(", "$(A",
        "${HOME}",
        "$(DYN_REQUEST_PLANE)", "`id`", "; rm -rf /", String(repeating: "long ", count: 2000), "--flag=$(HOME)=x",
    ]

    /// A text in a manifest, all but plain characters escaped; `$$` is one `$`.
    static func quoted(_ text: String) -> String {
        let scalars = text.unicodeScalars.map { scalar in
            switch scalar {
            case "$": "$$"
            case "\"", "\\": "\\\(scalar)"
            case " "..."~": String(scalar)
            default:
                "\\U" + String(repeating: "0", count: 8 - String(scalar.value, radix: 16).count)
                    + String(scalar.value, radix: 16)
            }
        }
        return "\"\(scalars.joined())\""
    }

    static func plan(_ text: String, release: DynamoRelease = DynamoRelease(1, 6, 1)) throws -> ClusterPlan {
        let source = try ManifestSource(path: "hostile.yaml", bytes: Array(text.utf8))
        let manifest = try Manifest.load(source, environment: [:])
        return try ClusterPlanner.plan(manifest, ClusterPlanner.Options(release: release, version: "0.1.0"))
    }

    /// What `read_containers.py` prints of a container.
    struct Container: Decodable {
        var env: [String: String]
        var words: [String]
    }

    @Test(arguments: ["plain", "operator", "operator of 1.1"])
    func `texts reach the program as they are`(form: String) async throws {
        var text =
            "name: hostile\nmodel: m\nplanes: {request: tcp, events: zmq}\nprocesses:\n  frontend: {module: dynamo.frontend}\n  worker:\n"
        text += "    module: dynamo.mocker\n    env:\n"
        for (index, value) in Self.texts.enumerated() { text += "      HOSTILE_\(index): \(Self.quoted(value))\n" }
        text += "    args:\n      - --model-path\n      - m\n"
        for value in Self.texts { text += "      - \(Self.quoted(value))\n" }
        let plan = try Self.plan(text, release: form.hasSuffix("1.1") ? DynamoRelease(1, 1, 1) : DynamoRelease(1, 6, 1))
        let objects = form == "plain" ? PlainObjects.objects(of: plan) : try OperatorObjects.objects(of: plan)
        try await withTemporaryDirectory { folder in
            let file = folder.appending(path: "objects.yaml")
            try Data(YAMLValue.documents(objects.map(\.yaml)).utf8).write(to: file)
            let (report, valid) = try await GeneratedObjectsTests.validate(file.path())
            #expect(valid == .code(0), "\(report)")
            #expect(report.contains("\(objects.count) objects"), "\(report)")
            let script = GeneratedObjectsTests.fixtures.appending(path: "read_containers.py").path()
            let (output, exit) = try await GeneratedObjectsTests.run("python", [script, file.path()])
            #expect(exit == .code(0), "\(output)")
            let containers = try JSONDecoder().decode([String: Container].self, from: Data(output.utf8))
            let name = form == "plain" ? "Deployment/hostile-worker" : "DynamoGraphDeployment/worker"
            let worker = try #require(containers[name])
            for (index, value) in Self.texts.enumerated() {
                let seen = worker.env["HOSTILE_\(index)"]
                #expect(
                    seen.map { Array($0.unicodeScalars) } == Array(value.unicodeScalars),
                    "\(value.debugDescription)"
                )
            }
            let words = worker.words.suffix(Self.texts.count).map { Array($0.unicodeScalars) }
            #expect(words == Self.texts.map { Array($0.unicodeScalars) })
            #expect(worker.words.prefix(3) == ["python3", "-m", "dynamo.mocker"])
        }
    }

    static let names: [(manifest: String, place: String)] = [
        ("name: \(String(repeating: "n", count: 64))\nprocesses:\n  a: {builtin: worker}\n", "hostile.yaml:1:7"),
        ("name: \"x\\nkind: Secret\"\nprocesses:\n  a: {builtin: worker}\n", "hostile.yaml:1:7"),
        ("name: naïve\nprocesses:\n  a: {builtin: worker}\n", "hostile.yaml:1:7"),
        ("name: x\nprocesses:\n  \"a: b\": {builtin: worker}\n", "hostile.yaml:3:3"),
        ("name: x\nprocesses:\n  \(String(repeating: "p", count: 60)): {builtin: worker}\n", "hostile.yaml:3:3"),
        ("name: x\nprocesses:\n  a: {builtin: worker, env: {\"A=B\": c}}\n", "hostile.yaml:3:"),
        ("name: x\nprocesses:\n  a: {builtin: worker, ports: {\"x y\": 1}}\n", "hostile.yaml:3:"),
        ("name: x\nkubernetes: {namespace: \"a/b\"}\nprocesses:\n  a: {builtin: worker}\n", "hostile.yaml:2:"),
        ("name: x\nkubernetes: {images: {launcher: \"a b\"}}\nprocesses:\n  a: {builtin: worker}\n", "hostile.yaml:2:"),
        (
            "name: x\nprocesses:\n  a: {builtin: worker, kubernetes: {nodeSelector: {\"a\\nb\": c}}}\n",
            "hostile.yaml:3:"
        ),
    ]

    @Test(arguments: names.indices)
    func `names that no object can have are refused with their place`(index: Int) throws {
        let (manifest, place) = Self.names[index]
        let error = #expect(throws: ManifestErrors.self) {
            let plan = try Self.plan("model: m\n\(manifest)".replacing("model: m\nname", with: "name"))
            _ = try OperatorObjects.objects(of: plan)
        }
        #expect(error?.description.hasPrefix(place) == true, "\(error?.description ?? "no error")")
    }
}
