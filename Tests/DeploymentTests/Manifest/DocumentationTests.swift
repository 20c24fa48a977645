import Foundation
import Testing

@testable import Deployment

/// The schema, the documentation and the decoder know the same keys.
@Suite struct DocumentationTests {
    /// The full example of a document: its first block of YAML.
    static func example(of document: String = "docs/manifest.md") throws -> String {
        let text = try Fixtures.text(document)
        let begin = try #require(text.firstRange(of: "```yaml\n"))
        let end = try #require(text[begin.upperBound...].firstRange(of: "```"))
        return String(text[begin.upperBound..<end.lowerBound])
    }

    private func properties(_ path: [String]) throws -> Set<String> {
        let schema = try JSONSerialization.jsonObject(with: Data(try Fixtures.bytes("launch/manifest.schema.json")))
        var node = try #require(schema as? [String: Any])
        for key in path {
            if let inner = node[key] as? [String: Any] {
                node = inner
            } else {
                // A short form beside the mapping.
                let forms = try #require(node["anyOf"] as? [[String: Any]])
                node = try #require(forms.compactMap { $0[key] as? [String: Any] }.first)
            }
        }
        if node["properties"] == nil, let forms = node["anyOf"] as? [[String: Any]] {
            node = try #require(forms.first { $0["properties"] != nil })
        }
        for case let property as [String: Any] in try #require(node["properties"] as? [String: Any]).values {
            #expect(property["description"] != nil || property["$ref"] != nil)
        }
        return Set(try #require(node["properties"] as? [String: Any]).keys)
    }

    @Test(
        arguments: [
            ([], ManifestKey.root),
            (["properties", "planes"], ManifestKey.planes),
            (["properties", "discovery"], ManifestKey.discovery),
            (["properties", "dynamo"], ManifestKey.dynamo),
            (["properties", "http"], ManifestKey.http),
            (["properties", "gateway"], ManifestKey.gateway),
            (["properties", "gateway", "properties", "hold"], ManifestKey.hold),
            (["properties", "gateway", "properties", "timeouts"], ManifestKey.gatewayTimeouts),
            (["properties", "gateway", "properties", "tls"], ManifestKey.tls),
            (["properties", "gateway", "properties", "listeners", "items"], ManifestKey.listener),
            (["properties", "infrastructure"], ManifestKey.infrastructure),
            (["properties", "infrastructure", "properties", "nats"], ManifestKey.nats),
            (["properties", "infrastructure", "properties", "etcd"], ManifestKey.etcd),
            (["properties", "preflight", "additionalProperties"], ManifestKey.preflight),
            (["properties", "canary"], ManifestKey.canary),
            (["properties", "migration"], ManifestKey.migration),
            (["properties", "migration", "properties", "canary", "items"], ManifestKey.migrationCheck),
            (["properties", "migration", "properties", "thresholds"], ManifestKey.migrationThresholds),
            (["properties", "kubernetes"], ManifestKey.kubernetes),
            (["properties", "kubernetes", "properties", "images"], ManifestKey.kubernetesImages),
            (
                ["properties", "kubernetes", "properties", "secrets", "additionalProperties"],
                ManifestKey.kubernetesSecret
            ),
            (["properties", "kubernetes", "properties", "route"], ManifestKey.kubernetesRoute),
            (["properties", "kubernetes", "properties", "apiServer"], ManifestKey.kubernetesAPIServer),
            (["$defs", "process"], ManifestKey.process),
            (["$defs", "processKubernetes"], ManifestKey.processKubernetes),
            (["$defs", "processKubernetes", "properties", "volumes", "items"], ManifestKey.kubernetesVolume),
            (["$defs", "processKubernetes", "properties", "tolerations", "items"], ManifestKey.kubernetesToleration),
            (["$defs", "processKubernetes", "properties", "autoscaling"], ManifestKey.kubernetesAutoscaling),
            (["$defs", "kvEvents"], ManifestKey.kvEvents),
            (["$defs", "limits"], ManifestKey.limits),
            (["$defs", "conditionalArguments"], ManifestKey.conditionalArguments),
            (["$defs", "timing"], ManifestKey.timing),
            (["$defs", "restart"], ManifestKey.restart),
            (["$defs", "stop"], ManifestKey.stop),
            (["$defs", "probe"], ManifestKey.probe),
            (["$defs", "httpProbe"], ManifestKey.httpProbe),
            (["$defs", "tcpProbe"], ManifestKey.tcpProbe),
        ] as [([String], [String])]
    )
    func schemaHasTheKeysOfTheDecoder(_ path: [String], _ keys: [String]) throws {
        #expect(try self.properties(path) == Set(keys))
    }

    @Test func schemaHasTheWordsOfTheDecoder() throws {
        let text = try Fixtures.text("launch/manifest.schema.json")
        let schema = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        var enumerations: Set<[String]> = []
        func collect(_ node: Any) {
            if let mapping = node as? [String: Any] {
                if let words = mapping["enum"] as? [String] { enumerations.insert(words) }
                mapping.values.forEach(collect)
            } else if let list = node as? [Any] {
                list.forEach(collect)
            }
        }
        collect(schema)
        let wanted = [
            PlaneSet.Request.allCases.map(\.rawValue), PlaneSet.Events.allCases.map(\.rawValue),
            PlaneSet.Response.allCases.map(\.rawValue), DiscoveryManifest.Backend.allCases.map(\.rawValue),
            Role.allCases.map(\.rawValue), ReadinessLayer.allCases.map(\.rawValue), Device.allCases.map(\.rawValue),
            RestartPolicy.Condition.allCases.map(\.rawValue), ProcessManifest.Builtin.allCases.map(\.rawValue),
            CanaryRequest.Endpoint.allCases.map(\.rawValue), ManifestKey.probeWords,
            MigrationSettings.Strategy.allCases.map(\.rawValue),
            KubernetesSettings.ServiceKind.allCases.map(\.rawValue),
            KubernetesSettings.Discovery.allCases.map(\.rawValue), TaintEffect.allCases.map(\.rawValue),
        ]
        for words in wanted { #expect(enumerations.contains(words), "\(words)") }
    }

    @Test func everyKeyIsDocumented() throws {
        let text = try Fixtures.text("docs/manifest.md")
        let keys = [
            ManifestKey.root, ManifestKey.planes, ManifestKey.discovery, ManifestKey.dynamo, ManifestKey.http,
            ManifestKey.infrastructure, ManifestKey.nats, ManifestKey.etcd, ManifestKey.canary, ManifestKey.process,
            ManifestKey.gateway, ManifestKey.hold, ManifestKey.gatewayTimeouts, ManifestKey.tls, ManifestKey.listener,
            ManifestKey.kvEvents, ManifestKey.limits, ManifestKey.preflight, ManifestKey.conditionalArguments,
            ManifestKey.migration,
            ManifestKey.migrationCheck,
            ManifestKey.migrationThresholds, ManifestKey.kubernetes, ManifestKey.kubernetesImages,
            ManifestKey.kubernetesSecret, ManifestKey.kubernetesRoute, ManifestKey.kubernetesAPIServer,
            ManifestKey.processKubernetes,
            ManifestKey.kubernetesToleration, ManifestKey.kubernetesVolume, ManifestKey.kubernetesAutoscaling,
            ManifestKey.timing, ManifestKey.restart,
            ManifestKey.stop,
            ManifestKey.probe,
            ManifestKey.probeWords, ManifestKey.httpProbe, ManifestKey.tcpProbe,
        ].joined()
        for key in keys {
            #expect(text.contains("`\(key)`") || text.contains("`\(key):"), "\(key) is not documented")
        }
        for variable in OwnedVariable.allCases
        where !["DYN_SYSTEM_ENABLED", "DYN_NAMESPACE_WORKER_SUFFIX", "DYN_NAMESPACE_PREFIX"].contains(variable.rawValue)
        {
            #expect(text.contains("`\(variable.rawValue)"), "\(variable.rawValue) is not documented")
        }
    }

    @Test func everyFindingOfDoctorIsDocumented() throws {
        let text = try Fixtures.text("docs/request-planes.md")
        for kind in Finding.Kind.allCases {
            #expect(text.contains("`\(kind.rawValue)`"), "\(kind.rawValue) is not documented")
        }
    }

    @Test func theFullExampleIsPlanned() throws {
        let plan = try ManifestCase(Self.example()).plan()
        #expect(plan.replicas.map(\.name) == ["nats", "metrics", "frontend", "worker-0", "worker-1", "engine"])
    }

    @Test func theExampleOfTheReadmeIsPlannedAndShowsEveryMainKey() throws {
        let example = try Self.example(of: "README.md")
        #expect(ManifestCase(example).errors == "")
        let plan = try ManifestCase(example).plan()
        #expect(plan.replicas.map(\.name) == ["nats", "cache", "frontend", "worker-0", "worker-1", "engine"])
        for key in ManifestKey.root + ManifestKey.process where !["builtin"].contains(key) {
            #expect(example.contains(try Regex("[ {\n]\(key):")), "\(key) is not shown")
        }
    }

    @Test func theEmbeddedManifestIsTheOneInLaunch() throws {
        #expect(try Fixtures.text("launch/embedded.yaml") == EmbeddedManifest.text)
    }
}
