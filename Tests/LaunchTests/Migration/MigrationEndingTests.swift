import Deployment
import Testing

@testable import Supervisor
@testable import dynamo_launch

/// The last words of `migrate`, and lines that are only added.
@Suite struct MigrationEndingTests {
    private let hints = MigrationHints(deployment: "chat", isNamed: true)
    private static let flagless =
        ", and start it without --tcp, --http and --nats (a flag wins over the manifest)"

    private func lines(
        _ step: MigrationStep,
        _ request: MigrationRequest?,
        _ change: (inout MigrationStatus) -> Void = { _ in }
    ) -> [String] {
        let status = MigrationViewTests.status(step) {
            $0.elapsed = 61
            change(&$0)
        }
        let ending = MigrationEnding(status, of: request, hints: self.hints, now: 1_000_000_000)
        return ending.lines + (ending.failure.map { [$0] } ?? [])
    }

    @Test func `until when the old generation is kept, and how to return`() {
        let clock = MigrationWords.clock(1_000_000_060)
        #expect(clock.wholeMatch(of: /\d\d:\d\d:\d\d/) != nil)
        #expect(
            self.lines(.warm, nil) { $0.nextIn = 60 }.prefix(2) == [
                "chat: generation 4 (nats) has all requests after 61.0 s",
                "generation 3 (tcp) is kept running until \(clock) (60.0 s); "
                    + "return to it with: dynamo-launch rollback --deployment chat",
            ]
        )
        #expect(
            self.lines(.warm, nil) { $0.isPaused = true }[1].hasPrefix(
                "generation 3 (tcp) is kept running until: dynamo-launch migrate resume --deployment chat; "
            )
        )
    }

    @Test(
        arguments: [
            (
                MigrationRequest(requestPlane: "nats"), "/etc/chat.yaml",
                "change /etc/chat.yaml: planes.request: nats\(Self.flagless)"
            ),
            (
                MigrationRequest(set: ["a=1", "b=2"]), "/etc/chat.yaml",
                "change /etc/chat.yaml: a=1, b=2\(Self.flagless)"
            ),
            (
                MigrationRequest(manifest: "/new.yaml"), "/etc/chat.yaml",
                "start it with: dynamo-launch up /new.yaml, and without --tcp, --http and --nats (a flag wins over the manifest)"
            ),
            (
                MigrationRequest(requestPlane: "nats", manifest: "/new.yaml", set: ["a=1"]), "/etc/chat.yaml",
                "start it with: dynamo-launch up /new.yaml, with planes.request: nats, a=1 in it, "
                    + "and without --tcp, --http and --nats (a flag wins over the manifest)"
            ),
            (
                MigrationRequest(requestPlane: "nats"), nil,
                "give 'up' --nats instead of another plane's flag, beside its other flags"
            ),
            (
                MigrationRequest(requestPlane: "nats", set: ["a=1"]), nil,
                "give 'up' --nats --set a=1 instead of another plane's flag, beside its other flags"
            ),
            (MigrationRequest(set: ["a=1"]), nil, "give 'up' --set a=1, beside its other flags"),
            (nil, "/etc/chat.yaml", "change /etc/chat.yaml: planes.request: nats\(Self.flagless)"),
        ] as [(MigrationRequest?, String?, String)]
    )
    func `how to make it permanent`(request: MigrationRequest?, manifest: String?, words: String) {
        let lines = self.lines(.done, request) { ($0.from.manifest, $0.to.manifest) = (manifest, manifest) }
        #expect(
            lines == [
                "chat: migrated to generation 4 (nats) in 61.0 s; generation 3 (tcp) is gone",
                "\(manifest ?? "the embedded manifest") was not changed: 'dynamo-launch up' with the same manifest "
                    + "and flags as before starts generation 4 (nats) from now on, until one of them changes",
                "to make it permanent, \(words)",
            ]
        )
    }

    @Test func `what did not work is the last line`() {
        #expect(
            self.lines(.rolledBack, nil) { $0.reason = "canary failed" } == [
                "error: deployment chat: not migrated: canary failed; generation 3 (tcp) serves as before"
            ]
        )
        let status = MigrationViewTests.status(.done)
        #expect(
            MigrationEnding(rollback: status, hints: self.hints).failure
                == "error: deployment chat: not rolled back: generation 4 (nats) serves, and generation 3 (tcp) is gone; "
                + "go back with: dynamo-launch migrate --to tcp --deployment chat"
        )
        let samePlane = MigrationViewTests.status(.done) { $0.to.requestPlane = "tcp" }
        #expect(
            MigrationEnding(rollback: samePlane, hints: self.hints).failure?.hasSuffix(
                "go back with: dynamo-launch migrate --to-manifest FILE --deployment chat"
            ) == true
        )
        #expect(
            MigrationEnding.launcherGone(MigrationViewTests.status(.warm), hints: self.hints).hasSuffix(
                "in mid-migration (warm); the next 'dynamo-launch up' starts generation 4 (nats): the migration counts as done"
            )
        )
        #expect(
            MigrationEnding.launcherGone(MigrationViewTests.status(.rollingBack), hints: self.hints).hasSuffix(
                "starts generation 3 (tcp): the migration counts as taken back"
            )
        )
        // Processes that go on are adopted, and the migration goes on where there is something to go on with.
        for step in [MigrationStep.starting, .observing, .warm] {
            #expect(
                MigrationEnding.launcherGone(MigrationViewTests.status(step), hints: self.hints, goesOn: true)
                    .hasSuffix(
                        "and its processes go on; the next 'dynamo-launch up' adopts them and goes on with the migration"
                    )
            )
        }
        #expect(
            MigrationEnding.launcherGone(MigrationViewTests.status(.retiring), hints: self.hints, goesOn: true)
                .hasSuffix(
                    "starts generation 4 (nats): the migration counts as done"
                )
        )
    }

    @Test func `one line for each change, with the time`() {
        var progress = PlainProgress(hints: self.hints)
        var lines: [String] = []
        for count in 1...9 {
            lines += progress.lines(
                MigrationViewTests.status(.starting) {
                    ($0.elapsed, $0.detail, $0.to.ready) = (Double(count), "waits for \(count).5 s", count / 5)
                }
            )
        }
        for isPaused in [true, true, false] {
            lines += progress.lines(
                MigrationViewTests.status(.observing) {
                    ($0.elapsed, $0.stage, $0.share, $0.isPaused, $0.to.ready) = (75, 1, 5, isPaused, 1)
                    $0.notes = ["a\u{7}b"]
                }
            )
        }
        lines += progress.lines(
            MigrationViewTests.status(.rollingBack) {
                ($0.elapsed, $0.reason, $0.to.ready, $0.notes) = (130, "slow", 1, ["a\u{7}b"])
                ($0.to.requests, $0.to.errors, $0.to.firstToken) = (1, 1, 2.5)
            }
        )
        #expect(
            lines == [
                "chat: migration 4, generation 3 (tcp) to generation 4 (nats), blue-green",
                "      1.00 s  starting: waits for 1.5 s",
                "      5.00 s  generation 4 (nats): 1 of 3 ready",
                "      75.0 s  observing 1 of 3: both generations' figures are compared",
                "      75.0 s  5 % of the requests go to generation 4 (nats)",
                "      75.0 s  paused: nothing further is begun until: dynamo-launch migrate resume --deployment chat",
                "      75.0 s  note: a b",
                "      75.0 s  resumed",
                "  2 min 10 s  generation 3 (tcp): 0 requests, 0 errors, first token -, between tokens -",
                "  2 min 10 s  generation 4 (nats): 1 request, 1 error, first token 2.50 s, between tokens -",
                "  2 min 10 s  reason: slow",
                "  2 min 10 s  rolling-back: the old generation is brought back, and the new one is stopped",
                "  2 min 10 s  0 % of the requests go to generation 4 (nats)",
            ]
        )
    }

    @Test func `status has a line about it`() {
        var status = DeploymentStatus(
            deployment: "chat",
            generation: 1,
            state: .ready,
            planes: PlaneSet(request: .tcp, events: .none),
            namespace: "chat",
            url: "http://127.0.0.1:8000",
            launcherPID: 1,
            uptime: 1,
            replicas: [],
            warnings: [],
            survivors: []
        )
        #expect(!StatusRendering.text(status).contains("migration"))
        status.migration = MigrationViewTests.status(.canary)
        #expect(
            StatusRendering.text(status).contains(
                "\n\nmigration: 4, generation 3 (tcp) to generation 4 (nats), blue-green: canary for 0.00 s, 0 % shifted"
            )
        )
    }

    @Test func `status says it in one line`() {
        let status = MigrationViewTests.status(.observing) {
            ($0.stage, $0.share, $0.stepElapsed, $0.next, $0.nextIn) = (2, 25, 4, "100 % of the requests", 6)
        }
        #expect(
            MigrationWords.summary(status, MigrationHints(deployment: "chat"))
                == "migration: 4, generation 3 (tcp) to generation 4 (nats), blue-green: observing 2 of 3 for 4.00 s, "
                + "25 % shifted; next: 100 % of the requests, in 6.00 s"
        )
        #expect(
            MigrationWords.summary(
                MigrationViewTests.status(.rolledBack) { $0.reason = "x" },
                MigrationHints(deployment: "chat")
            ) == "last migration: 4, generation 3 (tcp) to generation 4 (nats), blue-green: rolled-back; x"
        )
    }
}
