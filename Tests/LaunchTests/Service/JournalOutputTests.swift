import Deployment
import Supervisor
import Systemd
import Testing

@testable import dynamo_launch

/// What a line becomes in the journal.
@Suite struct JournalOutputTests {
    @Test(
        arguments: [
            ("<3>disk is full", JournalEntry.Priority.error, "disk is full"),
            ("<9>no priority", .info, "<9>no priority"),
            (
                "2026-11-23T13:22:34.908894Z  WARN dynamo_llm: slow", .warning,
                "2026-11-23T13:22:34.908894Z  WARN dynamo_llm: slow"
            ),
            ("(EngineCore_0 pid=7) ERROR 11-23 [core.py:1] out of memory", .error, nil),
            ("ERROR:root:it broke", .error, nil), ("[DEBUG] x", .debug, nil), ("CRITICAL no GPU", .critical, nil),
            (#"{"time":"now","level": "warn","message":"ERROR"}"#, .warning, nil),
            ("no errors, ERRORS or xERROR here", .info, nil), ("one two three four five six ERROR", .info, nil),
            ("", .info, nil), ("<3", .info, nil),
        ] as [(String, JournalEntry.Priority, String?)]
    )
    func `how bad a line is, it says itself`(line: String, priority: JournalEntry.Priority, text: String?) {
        #expect(JournalText.priority(of: line) == (priority, text ?? line))
    }

    @Test(arguments: [
        ("\u{1b}[1;36mINFO\u{1b}[0m ready", "INFO ready"), ("tab\tstays, ünïcode too", "tab\tstays, ünïcode too"),
        ("a\u{0}b\u{7f}c\u{1b}", "abc"), ("\u{1b}[", ""), ("plain", "plain"),
    ])
    func `what would make journalctl hide the message is taken out`(line: String, shown: String) {
        #expect(JournalText.printable(line) == shown)
    }

    @Test func `a line has the fields of its replica`() {
        let line = LogLine(
            process: "worker",
            replica: "worker-1",
            pid: 7,
            stream: .stderr,
            time: .now,
            text: "10 %\r\u{1b}[31m100 %\u{1b}[0m",
            isPartial: true
        )
        let entry = JournalOutput.entry(of: line, layer: .health, common: [.init("DYNAMO_DEPLOYMENT", "chat")])
        #expect(entry.message == "100 %")
        #expect(entry.identifier == "worker-1")
        #expect(
            entry.fields.map { "\($0.name)=\($0.value)" } == [
                "DYNAMO_DEPLOYMENT=chat", "DYNAMO_PROCESS=worker", "DYNAMO_REPLICA=worker-1", "DYNAMO_STREAM=stderr",
                "DYNAMO_PID=7", "DYNAMO_LAYER=health", "DYNAMO_PARTIAL=1",
            ]
        )
    }

    @Test func `the journal is the default where the output leads there, and wanted in vain where there is none`() {
        #expect(LogFormat.chosen(nil, outputIsJournal: true, journalIsThere: true) == .journal)
        #expect(LogFormat.chosen(nil, outputIsJournal: true, journalIsThere: false) == .text)
        #expect(LogFormat.chosen(nil, outputIsJournal: false, journalIsThere: true) == .text)
        #expect(LogFormat.chosen(.json, outputIsJournal: true, journalIsThere: true) == .json)
        #expect(LogFormat.chosen(.journal, outputIsJournal: false, journalIsThere: true) == .journal)
        #expect(LogFormat.chosen(.journal, outputIsJournal: true, journalIsThere: false) == nil)
    }
}
