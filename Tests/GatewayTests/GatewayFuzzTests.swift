import FuzzSupport
import Testing

/// Random bytes for what reads from strangers, and from backends.
///
/// `DYNAMO_FUZZ_SECONDS` says how long each family is fed; see `FuzzDriver`.
@Suite struct GatewayFuzzTests {
    @Test(arguments: ["gateway requests", "gateway answers"]) func family(_ name: String) throws {
        let target = try #require(FuzzTarget.gateway().first { $0.name == name })
        let report = try FuzzDriver.fromEnvironment(target)
        print(report)
        #expect(report.inputs > 0)
    }

    @Test func everyFamilyIsRun() {
        #expect(FuzzTarget.gateway().map(\.name) == ["gateway requests", "gateway answers"])
    }
}
