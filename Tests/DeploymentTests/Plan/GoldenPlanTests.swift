import Deployment
import Foundation
import Testing

/// What the manifests of `launch/` start, to the letter.
@Suite struct GoldenPlanTests {
    struct Golden: CustomTestStringConvertible {
        var name: String
        var manifest: String
        var plane: String?
        var release = "1.2.1"
        var environment: [String: String] = [:]
        var arguments: [String] = []

        var testDescription: String { self.name }
    }

    private static let goldens = [
        Golden(name: "embedded", manifest: "embedded"),
        Golden(name: "embedded-http", manifest: "embedded", plane: "http"),
        Golden(name: "embedded-nats", manifest: "embedded", plane: "nats"),
        Golden(name: "mocker-tcp", manifest: "mocker", plane: "tcp", environment: ["MODEL_PATH": "/models/tiny"]),
        Golden(
            name: "mocker-http",
            manifest: "mocker",
            plane: "http",
            environment: [
                "MODEL_PATH": "/models/tiny", "DYN_HTTP_PORT": "9000", "NATS_SERVER": "nats://localhost:4222",
            ]
        ),
        Golden(name: "mocker-nats", manifest: "mocker", plane: "nats", environment: ["MODEL_PATH": "/models/tiny"]),
        Golden(
            name: "mocker-nats-1.6.1",
            manifest: "mocker",
            plane: "nats",
            release: "1.6.1",
            environment: ["MODEL_PATH": "/models/tiny", "DYN_REQUEST_PLANE": "http", "HF_TOKEN": "hunter2"]
        ),
        Golden(name: "mocker-relay", manifest: "mocker/relay", environment: ["MODEL_PATH": "/models/tiny"]),
        Golden(name: "agg-tcp", manifest: "agg_request_planes"),
        Golden(
            name: "agg-nats-xpu",
            manifest: "agg_request_planes",
            plane: "nats",
            environment: ["DYN_DEVICE": "xpu", "DYN_SYSTEM_PORT": "9081"],
            arguments: ["--max-model-len", "4096"]
        ),
        Golden(name: "agg-router", manifest: "agg_router"),
        Golden(name: "agg-router-approx", manifest: "agg_router_approx"),
        Golden(name: "agg-router-replicas", manifest: "agg_router_replicas"),
        Golden(name: "disagg", manifest: "disagg"),
        Golden(name: "disagg-router-1.6.1", manifest: "disagg_router", release: "1.6.1"),
        Golden(name: "sglang-agg-router", manifest: "sglang/agg_router"),
        Golden(name: "sglang-disagg", manifest: "sglang/disagg"),
        Golden(name: "sglang-disagg-router", manifest: "sglang/disagg_router"),
        Golden(name: "trtllm-agg-router", manifest: "trtllm/agg_router"),
        Golden(name: "trtllm-disagg", manifest: "trtllm/disagg"),
        Golden(name: "trtllm-disagg-router-1.6.1", manifest: "trtllm/disagg_router", release: "1.6.1"),
    ]

    @Test("every manifest of launch/ is a valid one")
    func all() throws {
        let launch = Fixtures.repository.appending(path: "launch")
        let paths = try FileManager.default.subpathsOfDirectory(atPath: launch.path()).filter { $0.hasSuffix(".yaml") }
        #expect(paths.count >= 41)
        for path in paths {
            var planned = ManifestCase(path: "launch/\(path)", bytes: try Fixtures.bytes("launch/\(path)"))
            planned.environment["MODEL_PATH"] = "/models/tiny"
            for release in ["1.2.1", "1.6.1"] {
                planned.release = DynamoRelease(release)
                _ = try planned.plan()
            }
        }
    }

    @Test(arguments: Self.goldens)
    func plansAreAsTheyWere(_ golden: Golden) throws {
        var planned = ManifestCase(
            path: "launch/\(golden.manifest).yaml",
            bytes: try Fixtures.bytes("launch/\(golden.manifest).yaml")
        )
        planned.environment.merge(golden.environment) { _, new in new }
        planned.overrides.requestPlane = golden.plane
        planned.release = DynamoRelease(golden.release)
        planned.arguments = golden.arguments
        let plan = try planned.plan()
        let text = plan.rendered(showsInherited: true)
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN_PLANS"] != nil {
            let file = Fixtures.tests.appending(path: "GoldenPlans/\(golden.name).txt")
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
        #expect(try Fixtures.text("Tests/DeploymentTests/GoldenPlans/\(golden.name).txt") == text)
        #expect(try planned.plan() == plan)
        #expect(try JSONDecoder().decode(Plan.self, from: JSONEncoder().encode(plan)) == plan)
    }
}
