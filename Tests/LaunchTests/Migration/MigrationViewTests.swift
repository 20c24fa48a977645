import Deployment
import Supervisor
import Testing

@testable import dynamo_launch

/// What a person sees of a migration, as exact text.
@Suite struct MigrationViewTests {
    static func status(
        _ step: MigrationStep,
        strategy: MigrationSettings.Strategy = .blueGreen,
        _ change: (inout MigrationStatus) -> Void = { _ in }
    ) -> MigrationStatus {
        var status = MigrationStatus(
            id: 4,
            from: .init(
                number: 3,
                requestPlane: "tcp",
                release: "1.2.1",
                manifest: "/etc/chat.yaml",
                ready: 3,
                replicas: 3
            ),
            to: .init(number: 4, requestPlane: "nats", release: "1.6.1", manifest: "/etc/chat.yaml", replicas: 3),
            strategy: strategy,
            step: step,
            stages: 3
        )
        change(&status)
        return status
    }

    private static let course: [MigrationStatus] = [
        status(.preparing),
        status(.starting) { $0.elapsed = 0.4 },
        status(.verifying) { $0.elapsed = 8.75 },
        status(.canary) { $0.elapsed = 8.9 },
        status(.shifting) { ($0.elapsed, $0.stage, $0.share) = (11, 1, 5) },
        status(.observing) { ($0.elapsed, $0.stage, $0.share) = (11.1, 1, 5) },
        status(.shifting) { ($0.elapsed, $0.stage, $0.share) = (21.1, 2, 25) },
        status(.observing) {
            ($0.elapsed, $0.stepElapsed, $0.stage, $0.share) = (25.2, 4, 2, 25)
            ($0.from.requests, $0.from.inFlight, $0.from.firstToken, $0.from.betweenTokens) = (1234, 12, 0.0412, 0.0103)
            ($0.to.ready, $0.to.requests, $0.to.errors, $0.to.inFlight) = (3, 98, 1, 4)
            ($0.to.firstToken, $0.to.betweenTokens) = (1.2, nil)
            $0.detail = "errors 1.0 % against 0.0 %"
            ($0.next, $0.nextIn) = ("100 % of the requests go to generation 4", 6)
            $0.notes = ["nats-server was started for it"]
        },
    ]

    private static func bar(_ full: Int, _ width: Int) -> String {
        String(repeating: "\u{2588}", count: full) + String(repeating: "\u{2591}", count: width - full)
    }

    private func lines(
        _ statuses: [MigrationStatus],
        style: MigrationView.Style = .init(width: 100),
        messages: [String] = []
    ) -> [String] {
        var timeline = MigrationTimeline()
        for status in statuses { timeline.take(status) }
        var view = MigrationView(hints: MigrationHints(deployment: "chat"), style: style)
        view.messages = messages
        return statuses.last.map { view.lines($0, timeline) } ?? []
    }

    @Test func `steps, the share, both generations and what comes next`() {
        #expect(
            self.lines(Self.course) == [
                "chat: migration 4, generation 3 (tcp) to generation 4 (nats), blue-green, 25.2 s",
                "",
                "  \u{2713} preparing     0.40 s",
                "  \u{2713} starting      8.35 s",
                "  \u{2713} verifying     0.15 s",
                "  \u{2713} canary        2.10 s",
                "  \u{25B8} shifting      14.2 s      observing 2 of 3: errors 1.0 % against 0.0 %",
                "  \u{00B7} draining",
                "  \u{00B7} warm",
                "  \u{00B7} retiring",
                "",
                "  \(Self.bar(10, 40))  25 % of the requests go to generation 4 (nats)",
                "",
                "  GENERATION  PLANE  RELEASE   READY  REQUESTS  ERRORS  IN FLIGHT  FIRST TOKEN  BETWEEN TOKENS",
                "  3           tcp    1.2.1    3 of 3      1234       0         12      41.2 ms         10.3 ms",
                "  4           nats   1.6.1    3 of 3        98       1          4       1.20 s               -",
                "",
                "  next: 100 % of the requests go to generation 4, in 6.00 s",
                "  note: nats-server was started for it",
            ]
        )
    }

    @Test func `a narrow window loses columns, not figures that count most`() {
        #expect(
            self.lines(Self.course, style: .init(width: 40, unicode: false)) == [
                "chat: generation 3 (tcp) to generation >",
                "",
                "  x preparing     0.40 s",
                "  x starting      8.35 s",
                "  x verifying     0.15 s",
                "  x canary        2.10 s",
                "  > shifting      14.2 s",
                "  - draining",
                "  - warm",
                "  - retiring",
                "",
                "  ##........  25 % at generation 4",
                "",
                "  GEN  PLANE  REQUESTS  ERRORS    FIRST",
                "  3    tcp        1234       0  41.2 ms",
                "  4    nats         98       1   1.20 s",
                "",
                "  now: observing 2 of 3: errors 1.0 %",
                "    against 0.0 %",
                "  next: 100 % of the requests go to",
                "    generation 4, in 6.00 s",
                "  note: nats-server was started for it",
            ]
        )
    }

    @Test(arguments: [0, 1, 2, 5, 10, 17, 30, 60, 79, 200], [1, 3, 10, 15, 24])
    func `nothing is wider or higher than the window`(width: Int, height: Int) {
        for colour in [false, true] {
            let style = MigrationView.Style(width: width, height: height, colour: colour)
            let lines = self.lines(
                Self.course,
                style: style,
                messages: ["\u{6A21}\u{578B}\u{1B}[2J and a long word \(String(repeating: "x", count: 90))"]
            )
            #expect(lines.count <= height)
            for line in lines {
                let plain = line.replacing(/\u{1B}\[\d+m/, with: "")
                #expect(StyledLine.width(of: plain) <= width && !plain.contains("\u{1B}"), "\(line)")
            }
        }
    }

    @Test func `one that is taken back shows where it broke`() {
        let statuses =
            Self.course + [
                Self.status(.rollingBack) {
                    ($0.elapsed, $0.stepElapsed, $0.reason) = (27, 0, "too many errors")
                },
                Self.status(.rolledBack) { ($0.elapsed, $0.reason) = (29.5, "too many errors") },
            ]
        #expect(
            self.lines(statuses).prefix(11) == [
                "chat: migration 4, generation 3 (tcp) to generation 4 (nats), blue-green",
                "  rolled back after 29.5 s; generation 3 (tcp) serves",
                "",
                "  \u{2713} preparing     0.40 s",
                "  \u{2713} starting      8.35 s",
                "  \u{2713} verifying     0.15 s",
                "  \u{2713} canary        2.10 s",
                "  \u{2717} shifting      16.0 s",
                "  \u{2713} rolling-back  2.50 s",
                "",
                "  \(Self.bar(0, 40))  0 % of the requests go to generation 4 (nats)",
            ]
        )
        #expect(self.lines(statuses).suffix(2) == ["", "  reason: too many errors"])
    }

    @Test(arguments: [
        (MigrationStep.done, false, "done in 0.90 s; generation 4 (nats) serves"),
        (.rolledBack, false, "rolled back after 0.90 s; generation 3 (tcp) serves"),
        (.failed, false, "failed after 0.90 s"),
        (
            .done, true,
            "ended after 0.90 s, when the deployment was stopped; the next start is with generation 4 (nats)"
        ),
        (
            .rolledBack, true,
            "ended after 0.90 s, when the deployment was stopped; the next start is with generation 3 (tcp)"
        ),
    ])
    func `one that is over says so, and a generation that is gone has no replicas`(
        step: MigrationStep,
        isStopped: Bool,
        end: String
    ) {
        let status = Self.status(step) {
            ($0.elapsed, $0.isStopped) = (0.9, isStopped)
            ($0.from.ready, $0.from.replicas) = (0, 0)
        }
        let lines = self.lines([status], style: .init(width: 200))
        #expect(lines[0] == "chat: migration 4, generation 3 (tcp) to generation 4 (nats), blue-green: \(end)")
        #expect(lines.contains { $0.hasPrefix("  3           tcp    1.2.1         -  ") }, "\(lines)")
    }

    @Test func `who looks late sees what was passed`() {
        let late = Self.status(.draining) { ($0.elapsed, $0.stepElapsed, $0.share) = (60, 2.5, 100) }
        #expect(
            self.lines([late]).dropFirst(2).prefix(8) == [
                "  \u{2713} preparing",
                "  \u{2713} starting",
                "  \u{2713} verifying",
                "  \u{2713} canary",
                "  \u{2713} shifting",
                "  \u{25B8} draining      2.50 s      the old generation answers what it has",
                "  \u{00B7} warm",
                "  \u{00B7} retiring",
            ]
        )
        let paused = Self.status(.observing, strategy: .recreate) { ($0.stage, $0.isPaused, $0.stages) = (1, true, 1) }
        #expect(
            self.lines([paused]) == [
                "chat: migration 4, generation 3 (tcp) to generation 4 (nats), recreate, 0.00 s",
                "",
                "  \u{2713} preparing",
                "  \u{2713} emptying",
                "  \u{2713} starting",
                "  \u{2713} verifying",
                "  \u{2713} canary",
                "  \u{25B8} shifting                  observing: both generations' figures are compared",
                "  \u{00B7} draining",
                "  \u{00B7} retiring",
                "",
                "  \(Self.bar(0, 40))  0 % of the requests go to generation 4 (nats)",
                "",
                "  GENERATION  PLANE  RELEASE   READY  REQUESTS  ERRORS  IN FLIGHT  FIRST TOKEN  BETWEEN TOKENS",
                "  3           tcp    1.2.1    3 of 3         0       0          0            -               -",
                "  4           nats   1.6.1    0 of 3         0       0          0            -               -",
                "",
                "  paused: nothing further is begun until: dynamo-launch migrate resume",
            ]
        )
    }

    @Test func `colours stand around what they are for`() {
        let line = self.lines(Self.course, style: .init(width: 100, colour: true))[2]
        #expect(line == "  \u{1B}[32m\u{2713}\u{1B}[0m preparing     0.40 s")
    }
}
