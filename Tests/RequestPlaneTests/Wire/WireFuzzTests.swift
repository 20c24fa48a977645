import FuzzSupport
import NIOCore
import RequestPlane
import Testing

/// Damaged, cut and joined captures of real traffic: every decoder ends in a defined way and keeps its promises.
///
/// `DYNAMO_FUZZ_SECONDS` says how long each family is fed; see `FuzzDriver`.
@Suite struct WireFuzzTests {
    @Test(arguments: ["requests", "acknowledgements", "frames", "streams", "text"])
    func family(_ name: String) throws {
        let target = try #require(try FuzzTarget.wire().first { $0.name == name })
        let report = try FuzzDriver.fromEnvironment(target)
        print(report)
        #expect(report.inputs > 0)
    }

    @Test func everyFamilyIsRun() throws {
        #expect(try FuzzTarget.wire().map(\.name) == ["requests", "acknowledgements", "frames", "streams", "text"])
    }

    /// A driver that finds nothing must be able to find something.
    @Test func aBrokenRuleIsReportedWithItsInput() throws {
        let target = FuzzTarget("broken", seeds: [Array("abcdef".utf8)]) { bytes, _ in
            try hold(bytes.count < 3 || bytes[2] == UInt8(ascii: "c"), "the third letter")
        }
        let finding = try #require(throws: FuzzDriver.Finding.self) { try FuzzDriver.run(target, .inputs(10_000)) }
        #expect(finding.what == "the third letter")
        let again = try #require(throws: FuzzDriver.Finding.self) {
            try FuzzDriver.run(target, .inputs(1), seed: finding.seed)
        }
        #expect(again.input == finding.input)
    }

    // MARK: Findings

    @Test func arrayOfStringsEndsWithItsBracket() {
        #expect(JSONObject.strings(ByteBuffer(string: #"["a"] "#)) == ["a"])
        #expect(JSONObject.strings(ByteBuffer(string: #"["a"]x"#)) == nil)
        #expect(JSONObject.strings(ByteBuffer(string: #"[][]"#)) == nil)
    }

    @Test func emptyPayloadMakesAReadableFrame() throws {
        var frame = ByteBuffer()
        frame.writeItemFrame(.data(ByteBuffer()))
        let message = try TwoPartMessage(payload: frame)
        #expect(try ItemFrame(message.body) == ItemFrame(items: [.data(.jsonNull)], isFinal: false))
    }

    /// Which of several keys is the first one differs from run to run.
    @Test func errorTypeWithSeveralKeysIsUnknown() {
        let one = ByteBuffer(string: #"{"error_type":{"Backend":"Disconnected"},"message":"m"}"#)
        #expect(RemoteError(json: one) == RemoteError(kind: .disconnected, message: "m"))
        let two = ByteBuffer(string: #"{"error_type":{"A":"Disconnected","B":"Cancelled"},"message":"m"}"#)
        #expect(RemoteError(json: two) == RemoteError(kind: .unknown, message: "m"))
    }
}
