import FuzzSupport
import Testing

/// What single transports add to the wire: received headers become requests in a defined way, and a pool keeps its rules whatever
/// its connections do.
///
/// `DYNAMO_FUZZ_SECONDS` says how long each family is fed; see `FuzzDriver`.
@Suite struct TransportFuzzTests {
    @Test(arguments: ["NATS headers", "TCP pool"])
    func family(_ name: String) throws {
        let target = try #require(FuzzTarget.transports().first { $0.name == name })
        let report = try FuzzDriver.fromEnvironment(target)
        print(report)
        #expect(report.inputs > 0)
    }

    @Test func everyFamilyIsRun() {
        #expect(FuzzTarget.transports().map(\.name) == ["NATS headers", "TCP pool"])
    }
}
