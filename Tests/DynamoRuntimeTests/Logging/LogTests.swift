import Logging
import Testing

@testable import DynamoRuntime

@Suite("Log lines")
struct LogTests {
    @Test("one line for each event, with fields in order and quotes where needed")
    func line() {
        let line = StandardErrorLogHandler.line(
            level: .warning,
            label: "dynamo_worker",
            message: "a\nb",
            metadata: ["port": "80", "error": "not \"found\"", "empty": ""]
        )
        #expect(line.hasSuffix(#"  WARN dynamo_worker: a\nb empty="" error="not \"found\"" port=80"#))
        #expect(line.first == "2")
    }

    @Test("times are UTC with microseconds")
    func timestamp() {
        #expect(Timestamp.text(seconds: 1_795_440_154, microseconds: 8894) == "2026-11-23T13:22:34.008894Z")
    }

    @Test("the longest target that fits decides")
    func filter() throws {
        let filter = try #require(LogFilter("debug,A=off,A.b=trace"))
        #expect(filter.level(of: "x") == .debug)
        #expect(filter.level(of: "A") == nil)
        #expect(filter.level(of: "A.b.c") == .trace)
    }

    @Test("unknown levels are no filter", arguments: ["loud", "a=b=info", "info,x=", "=="])
    func invalid(text: String) { #expect(LogFilter(text) == nil) }
}
