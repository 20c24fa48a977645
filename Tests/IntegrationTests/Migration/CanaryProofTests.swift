import Deployment
import Rollout
import TestSupport
import Testing

/// What a migration asks a new generation's frontends, asked of real ones at their own ports.
@Suite(.serialized) struct CanaryProofTests {
    private func troubles(
        _ deployment: LaunchedDeployment,
        _ checks: [MigrationSettings.CanaryCheck]
    ) async -> [String] {
        let canary = Canary(
            frontends: [.init(name: "frontend", baseURL: deployment.url)],
            model: nil,
            request: CanaryRequest(),
            checks: checks
        )
        return await canary.troubles()
    }

    @Test func `our own frontend passes, and says what it said where something else was expected`() async throws {
        let (_, exit) = try await Launcher.up(["--set", "gateway=false"]) { deployment in
            try await deployment.waitUntilReady()
            let checks: [MigrationSettings.CanaryCheck] = [
                .init(prompt: "one two", expect: "^one two$"), .init(prompt: "one two", expect: "three"),
            ]
            #expect(
                await self.troubles(deployment, checks) == [
                    "frontend: it was asked 'one two': the answer must match /three/, and it is 'one two'"
                ]
            )
        }
        #expect(exit == .code(0))
    }

    @Test(arguments: [TestEnvironment.DynamoPeer.v121, .v161])
    func `real Dynamo passes`(_ peer: TestEnvironment.DynamoPeer) async throws {
        let (_, exit) = try await Launcher.up(
            [RealDynamoTests.manifest, "--tcp", "--set", "gateway=false"],
            environment: try RealDynamoTests.environment(peer)
        ) { deployment in
            try await deployment.waitUntilReady()
            let troubles = await self.troubles(
                deployment,
                [.init(prompt: "Hello"), .init(prompt: "Hello", expect: "nonsense")]
            )
            // What the mock engine's tokens are in the model's vocabulary is no text, which is an answer all the same.
            #expect(
                troubles == ["frontend: it was asked 'Hello': the answer must match /nonsense/, and it is ''"]
            )
        }
        #expect(exit == .code(0))
    }
}
