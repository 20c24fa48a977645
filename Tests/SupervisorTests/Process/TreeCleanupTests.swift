import Testing

@testable import Supervisor

@Suite struct TreeCleanupTests {
    private let start = ContinuousClock.now

    private func stray(_ pid: Int32, _ owner: Int?) -> Stray {
        Stray(pid: pid, startTime: 1, owner: owner, command: "c\(pid)")
    }

    @Test func asksOnceThenKillsThenReports() {
        var cleanup = TreeCleanup()
        cleanup.add(replica: 0, run: 1, grace: .seconds(2), at: self.start)
        let one = self.stray(10, 0)
        #expect(cleanup.evaluate([one], at: self.start) == [.signal(one, 15)])
        #expect(cleanup.evaluate([one], at: self.start + .seconds(1)) == [])
        #expect(cleanup.evaluate([one], at: self.start + .seconds(2)) == [.signal(one, 9)])
        #expect(
            cleanup.evaluate([], at: self.start + .seconds(3)) == [
                .cleared(replica: 0, run: 1, killed: ["c10 (pid 10)"], survivors: [])
            ]
        )
        #expect(cleanup.isEmpty)
    }

    @Test func leavesWhatBelongsToOthers() {
        var cleanup = TreeCleanup()
        cleanup.add(replica: 0, run: 1, grace: .zero, at: self.start)
        let actions = cleanup.evaluate([self.stray(10, 1), self.stray(11, nil)], at: self.start)
        #expect(actions == [.cleared(replica: 0, run: 1, killed: [], survivors: [])])
    }

    @Test func askingAgainCanOnlyShortenTheGrace() {
        var cleanup = TreeCleanup()
        let one = self.stray(10, 0)
        cleanup.add(replica: 0, run: 1, grace: .seconds(2), at: self.start)
        _ = cleanup.evaluate([one], at: self.start)
        cleanup.add(replica: 0, run: 1, grace: .zero, at: self.start)
        #expect(cleanup.evaluate([one], at: self.start) == [.signal(one, 9)])
        cleanup.add(replica: 0, run: 1, grace: .seconds(9), at: self.start)
        #expect(cleanup.evaluate([one], at: self.start) == [.signal(one, 9)])
    }

    @Test func whatCannotBeKilledIsNamedAndLeft() {
        var cleanup = TreeCleanup()
        cleanup.add(replica: 0, run: 1, grace: .zero, at: self.start)
        let one = self.stray(10, 0)
        _ = cleanup.evaluate([one], at: self.start)
        #expect(
            cleanup.evaluate([one], at: self.start + TreeCleanup.killLimit) == [
                .cleared(replica: 0, run: 1, killed: [], survivors: [one])
            ]
        )
    }
}

@Suite struct StrayFinderTests {
    private let finder = StrayFinder(
        prefix: "d/",
        keeper: 2,
        leaders: [10, 11],
        sessions: [10: 0, 11: 1, 12: 0],
        replicas: ["a": 0, "b": 1]
    )

    @Test func ownersComeFromMarkerSessionAndParent() {
        let table = [
            ProcessEntry(pid: 2, parent: 1, session: 2),
            ProcessEntry(pid: 10, parent: 2, session: 10),
            // Below a leader that runs: no stray.
            ProcessEntry(pid: 20, parent: 10, session: 20),
            // By its marker, although in another replica's session.
            ProcessEntry(pid: 30, parent: 2, session: 11),
            // By the session of a leader that is gone.
            ProcessEntry(pid: 31, parent: 2, session: 12),
            // By its parent.
            ProcessEntry(pid: 32, parent: 31, session: 32),
            // Nobody's: nothing tells.
            ProcessEntry(pid: 33, parent: 2, session: 33),
            // Of another deployment.
            ProcessEntry(pid: 34, parent: 2, session: 34),
            ProcessEntry(pid: 35, parent: 2, session: 12, isZombie: true),
            ProcessEntry(pid: 99, parent: 1, session: 10),
        ]
        let markers: [Int32: String] = [30: "d/a", 34: "dd/a", 20: "d/a"]
        let strays = self.finder.strays(in: table) {
            markers[$0]
        } command: {
            "c\($0)"
        }
        let owners = Dictionary(uniqueKeysWithValues: strays.map { ($0.pid, $0.owner) })
        #expect(owners == [30: 0, 31: 0, 32: 0, 33: nil, 34: nil])
    }

    @Test func statLinesAreReadWhateverTheName() throws {
        let line = "42 (a) b (c) S 7 42 40 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10"
        let entry = try #require(ProcessEntry(stat: Array(line.utf8)))
        #expect(entry == ProcessEntry(pid: 42, parent: 7, session: 40, startTime: 987_654))
        #expect(ProcessEntry(stat: Array("42 (x) Z".utf8)) == nil)
        #expect(ProcessEntry(stat: []) == nil)
    }

    @Test func exitsInWords() {
        #expect(ProcessExit(waitStatus: 3 << 8).words == "exit code 3")
        #expect(ProcessExit(waitStatus: 9).words == "killed by SIGKILL")
        #expect(ProcessExit(waitStatus: 11 | 0x80).words == "killed by SIGSEGV")
        #expect(ProcessExit(waitStatus: 40).words == "killed by signal 40")
        #expect(ProcessExit(waitStatus: 9).shellCode == 137)
    }
}
