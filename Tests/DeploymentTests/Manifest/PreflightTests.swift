import Testing

@testable import Deployment

/// Commands that may refuse the start, and their values.
@Suite struct PreflightTests {
    private static let text = """
        name: demo
        model: m
        preflight:
          gpu-memory: {command: [share, "0.4"], timeout: 2m}
          quiet: ["true"]
        env: {SHARE: "{{preflight.gpu-memory}}"}
        processes:
          frontend: {builtin: frontend}
          worker: {role: worker, command: [sleep, "{{preflight.gpu-memory}}"], args: ["--x={{preflight.gpu-memory}}"]}
        """

    private func worker(_ values: [String: String]?) throws -> ReplicaPlan {
        var manifest = ManifestCase(Self.text)
        manifest.preflight = values
        return try #require(try manifest.plan().replicas.first { $0.name == "worker" })
    }

    @Test func commandsAreRead() throws {
        let preflight = try ManifestCase(Self.text).manifest().preflight
        #expect(preflight.map(\.name.value) == ["gpu-memory", "quiet"])
        #expect(preflight.map(\.command) == [["share", "0.4"], ["true"]])
        #expect(preflight.map(\.timeout) == [120, 30])
    }

    @Test func aValueFeedsArgumentsAndVariables() throws {
        let worker = try self.worker(["gpu-memory": "0.45"])
        #expect(worker.arguments == ["0.45", "--x=0.45"])
        #expect(worker.environment.first { $0.name == "SHARE" }?.value == "0.45")
    }

    @Test func aPlanThatIsOnlyShownSaysThatTheValueComesLater() throws {
        #expect(try self.worker(nil).arguments == ["<preflight.gpu-memory>", "--x=<preflight.gpu-memory>"])
    }

    @Test func aValueThatIsMissingIsAnErrorWithItsPlace() throws {
        var manifest = ManifestCase(Self.text)
        manifest.preflight = ["quiet": "x"]
        #expect(manifest.errors.contains("test.yaml:6:14: error: '{{preflight.gpu-memory}}' has no value"))
    }

    @Test func aClusterHasNoValues() throws {
        #expect(throws: ManifestErrors.self) { try ClusterCase(Self.text).plan() }
        let manifest = try ManifestCase(Self.text).manifest()
        for target in [FidelityReport.Target.operator, .plain] {
            let lost = FidelityReport(manifest, for: target).entries.filter { $0.key.hasPrefix("preflight.") }
            #expect(lost.count == 3)
            #expect(lost.allSatisfy { $0.status == .lost })
        }
    }
}
