import Testing

@testable import Deployment

@Suite struct ReleaseKnowledgeTests {
    @Test(arguments: [
        ("1.2.1", DynamoRelease(1, 2, 1)), ("v1.2.1", DynamoRelease(1, 2, 1)), ("1.2", DynamoRelease(1, 2, 0)),
        ("1.2.1rc1", DynamoRelease(1, 2, 1)), ("1.2.1.post2", DynamoRelease(1, 2, 1)),
        ("1.2.1+cu12", DynamoRelease(1, 2, 1)),
    ])
    func releasesAreRead(_ text: String, _ release: DynamoRelease) {
        #expect(DynamoRelease(text) == release)
    }

    @Test(arguments: ["", "1", "latest", "1.x", "1.2rc1.3", "-1.2.3", "1..2", "1.2.", "99999.1"])
    func noReleases(_ text: String) {
        #expect(DynamoRelease(text) == nil)
    }

    @Test(arguments: [
        ("0.9.0", "0.9.0", false), ("1.0.0", "1.0.2", false), ("1.2.0", "1.2.1", false), ("1.2.9", "1.2.1", false),
        ("1.5.0", "1.4.2", false), ("1.6.4", "1.6.1", false), ("1.7.0", "1.6.1", true), ("2.0.0", "1.6.1", true),
        ("0.5.0", "0.9.0", true),
    ])
    func theNearestLowerLineCounts(_ text: String, _ observed: String, _ isGuess: Bool) throws {
        let release = try #require(DynamoRelease(text))
        let (row, note) = ReleaseKnowledge.row(for: release)
        #expect(row.observed.description == observed)
        #expect((note != nil) == isGuess)
    }

    @Test func planesByRelease() {
        #expect(ReleaseKnowledge.lines(with: .http) == "1.0 to 1.2")
        #expect(ReleaseKnowledge.lines(with: .tcp) == "1.0 and later")
        let events = ["1.0.2", "1.1.1", "1.2.1", "1.3.1", "1.4.2", "1.6.1"].compactMap { DynamoRelease($0) }.map {
            ReleaseKnowledge.row(for: $0).row
        }
        #expect(events.map { $0.events(with: .file) } == [.natsCore, .natsCore, .zmq, .zmq, .zmq, .zmq])
        #expect(events.map { $0.events(with: .etcd) } == [.natsCore, .natsCore, .natsCore, .zmq, .zmq, .zmq])
        #expect(events.map { $0.responsePlanes.contains(.quic) } == [false, false, false, false, false, true])
        #expect(ReleaseKnowledge.rows.map(\.since) == ReleaseKnowledge.rows.map(\.since).sorted())
    }

    @Test(
        arguments: [
            ("dynamo.frontend", Role.frontend), ("dynamo.vllm.unified_main", .worker), ("dynamo.router", .router),
            ("dynamo.planner", nil),
            ("my.frontend", nil), ("dynamo", nil),
        ] as [(String, Role?)]
    )
    func rolesOfModules(_ module: String, _ role: Role?) {
        #expect(DynamoModules.role(of: module) == role)
    }

    /// What each release has of landscape's table, by its packages.
    @Test(
        arguments: [
            (.flag("--response-plane"), nil, "-----x"), (.flag("--is-prefill-worker"), "vllm", "xxxx--"),
            (.flag("--is-decode-worker"), "vllm", "xxxx--"), (.flag("--router-reset-states"), nil, "xxxx--"),
            (.variable("DYN_VLLM_KV_EVENT_PORT"), "vllm", "x-----"), (.flag("--publish-kv-events"), "trtllm", "---xxx"),
            (.flag("--publish-metrics"), "trtllm", "-----x"), (.module("unified_main"), "vllm", "-xxx--"),
            (.module("unified_main"), "sglang", "-xxx--"), (.module("unified_main"), "trtllm", "-xxx--"),
            (.flag("--connector"), "vllm", "------"), (.variable("DYN_CONNECTOR"), "vllm", "------"),
            (.flag("--durable-kv-events"), nil, "xxxx--"), (.flag("--router-max-tree-size"), nil, "xx----"),
        ] as [(ReleaseFeature.Kind, String?, String)]
    )
    func featuresByRelease(_ kind: ReleaseFeature.Kind, _ component: String?, _ releases: String) throws {
        let feature = try #require(ReleaseFeature.all.first { $0.kind == kind && $0.component == component })
        let known = ["1.0.2", "1.1.1", "1.2.1", "1.3.1", "1.4.2", "1.6.1"].compactMap { DynamoRelease($0) }
        #expect(known.map { feature.exists(in: $0) ? "x" : "-" }.joined() == releases)
    }

    @Test func rowsDoNotContradictEachOther() {
        let features = ReleaseFeature.all
        #expect(Set(features.map { "\($0.kind) \($0.component ?? "")" }).count == features.count)
        for row in ReleaseKnowledge.rows { #expect(Set(row.changes).count == row.changes.count) }
    }

    @Test(arguments: [
        ("--router-reset-states", "only releases 1.0 to 1.3 have it"), ("--connector", "no release from 1.0 on has it"),
        ("--omni", "only release 1.0 has it"), ("--response-plane", "only releases from 1.6 on have it"),
        ("--migration-max-seq-len", "only releases from 1.1 on have it"),
    ])
    func releasesInWords(_ flag: String, _ words: String) throws {
        #expect(try #require(ReleaseFeature.all.first { $0.kind == .flag(flag) }).releases == words)
    }
}
