import Supervisor
import Testing

@Suite struct ConsoleFormatterTests {
    private func line(_ text: String, process: String = "worker", replica: String = "worker-1") -> LogLine {
        LogLine(process: process, replica: replica, stream: .stderr, time: LogTime(milliseconds: 0), text: text)
    }

    private func formatter(_ format: ConsoleFormatter.Format, colour: Bool = false) -> ConsoleFormatter {
        ConsoleFormatter(
            format: format,
            colour: colour,
            processes: ["frontend", "worker"],
            replicas: ["frontend", "worker-0", "worker-10"]
        )
    }

    @Test func textHasItsNameInAColumn() {
        let formatter = self.formatter(.text)
        #expect(formatter.string(for: self.line("hello")) == "worker-1  | hello\n")
        #expect(formatter.string(for: self.line("hi", process: "frontend", replica: "frontend")) == "frontend  | hi\n")
    }

    @Test func colourIsThatOfTheProcess() {
        let formatter = self.formatter(.text, colour: true)
        #expect(formatter.string(for: self.line("hello")) == "\u{1b}[33mworker-1  |\u{1b}[0m hello\n")
        let other = formatter.string(for: self.line("hello", replica: "worker-10"))
        #expect(other == "\u{1b}[33mworker-10 |\u{1b}[0m hello\n")
        #expect(formatter.prefix(process: "frontend", name: "frontend").hasPrefix("\u{1b}[36m"))
    }

    @Test func progressBarsShowTheirLastState() {
        #expect(self.formatter(.text).string(for: self.line("10%\r50%\r100%")) == "worker-1  | 100%\n")
    }

    @Test func jsonIsOneObjectToALine() {
        let text = self.formatter(.json).string(for: self.line("a \"quoted\" \\ \t\u{1}\n end é"))
        #expect(
            text
                == #"{"time":"1970-01-01T00:00:00.000Z","process":"worker","replica":"worker-1","stream":"stderr","message":"a \"quoted\" \\ \t\u0001\n end é"}"#
                + "\n"
        )
    }
}
