internal import Supervisor

extension MigrationMachine {
    /// The new generation has not shown yet that it answers.
    static let unproved: [MigrationStep] = [.preparing, .emptying, .starting, .verifying, .canary]
    /// It has; clients are being moved, and the deployment still starts as the old one.
    static let moving: [MigrationStep] = [.confirming, .shifting, .observing]
    /// The deployment starts as the new one, but the way back is open.
    static let committed: [MigrationStep] = [.draining, .warm]
    /// The steps from which there is a way back.
    static let reversible = Self.unproved + Self.moving + Self.committed
    /// The steps that go on when the old generation is lost.
    static let onward: [MigrationStep] = [.shifting, .draining]
    static let ends: [MigrationStep] = [.done, .rolledBack, .failed]

    /// All that can happen in a migration.
    static let table: [Transition] =
        Self.forward + Self.losses + Self.failures + Self.stops + Self.pauses + Self.promotions + Self.aborts

    private static let forward: [Transition] = [
        Transition([], .begin, to: .preparing, stage: .first),
        // Held until `resume`, which then follows the rows below.
        Transition(Self.reversible.filter(\.hasWork), .finished, when: [.isPaused]),
        Transition([.preparing], .finished, when: [.recreate], to: .emptying),
        Transition([.preparing], .finished, to: .starting),
        Transition([.emptying], .finished, to: .starting),
        Transition([.starting], .finished, to: .verifying),
        Transition([.verifying], .finished, to: .canary),
        Transition([.canary], .finished, when: [.asksPerson], to: .confirming),
        Transition([.canary], .finished, to: .shifting, stage: .first),
        Transition([.shifting], .finished, when: [.isHurried, .isLastStage], to: .draining),
        // Workers are moved wave by wave also in a hurry: the floor of ready ones holds.
        Transition([.shifting], .finished, when: [.isHurried, .rolling], to: .shifting, stage: .next),
        Transition([.shifting], .finished, when: [.isHurried], to: .shifting, stage: .last),
        Transition([.shifting], .finished, to: .observing),
        Transition([.observing], .finished, when: [.isLastStage], to: .draining),
        Transition([.observing], .finished, to: .shifting, stage: .next),
        Transition([.draining], .finished, when: [.blueGreen, .keepsWarm, .oldIsThere], to: .warm),
        Transition([.draining], .finished, to: .retiring),
        Transition([.warm], .warmOver, to: .retiring),
        Transition([.retiring], .finished, to: .done),
        Transition([.rollingBack], .finished, to: .rolledBack),
    ]

    private static let losses: [Transition] = {
        let lost = "the old generation was given up"
        let goesOn: [Effect] = [.hurry, .loseOld, .note("\(lost), and the new one gets all requests")]
        return [
            // `recreate` has stopped it on purpose.
            Transition(Array(Self.unproved.dropFirst()) + Self.moving + [.draining], .oldEnded, when: [.recreate]),
            Transition(Self.unproved.filter { $0 != .emptying }, .oldEnded, to: .failed, does: [.reason(lost)]),
            Transition(Self.onward, .oldEnded, when: [.oldIsLost]),
            Transition([.confirming], .oldEnded, when: [.rolling], to: .shifting, stage: .first, does: goesOn),
            Transition([.confirming], .oldEnded, to: .shifting, stage: .last, does: goesOn),
            Transition([.shifting], .oldEnded, when: [.isLastStage], does: goesOn + [.resume]),
            Transition([.shifting], .oldEnded, when: [.rolling], does: goesOn + [.resume]),
            Transition([.shifting], .oldEnded, to: .shifting, stage: .last, does: goesOn),
            Transition([.observing], .oldEnded, when: [.isLastStage], to: .draining, does: goesOn),
            Transition([.observing], .oldEnded, when: [.rolling], to: .shifting, stage: .next, does: goesOn),
            Transition([.observing], .oldEnded, to: .shifting, stage: .last, does: goesOn),
            Transition(Self.committed, .oldEnded, to: .retiring, does: [.loseOld, .note(lost)]),
            Transition([.rollingBack], .oldEnded, to: .failed, does: [.reason(lost)]),

            Transition(
                Self.onward,
                .newEnded,
                when: [.oldIsLost],
                to: .failed,
                does: [.reason("both generations were given up")]
            ),
            Transition(
                Self.reversible,
                .newEnded,
                to: .rollingBack,
                does: [.reason("the new generation was given up")]
            ),
            // The old one cannot come back any more.
            Transition(
                [.retiring],
                .newEnded,
                to: .failed,
                does: [.reason("the new generation was given up while the old one was being stopped")]
            ),
        ]
    }()

    private static let failures: [Transition] = {
        let unwritten = "the journal cannot be written"
        return [
            // A generation that is gone has nothing to answer.
            Transition(
                [.draining],
                .failed,
                when: [.oldIsLost],
                to: .retiring,
                does: [.note("the old generation was not drained")]
            ),
            Transition(
                [.shifting],
                .failed,
                when: [.oldIsLost],
                to: .failed,
                does: [.reason("the old generation is lost")]
            ),
            Transition(Self.reversible.filter(\.hasWork), .failed, to: .rollingBack, does: [.reason("")]),
            // The new generation serves all the same.
            Transition([.retiring], .failed, to: .done, does: [.reason("the old generation was not stopped cleanly")]),
            Transition([.rollingBack], .failed, to: .failed, does: [.reason("rolling back failed")]),

            Transition(
                Self.onward,
                .journalFailed,
                when: [.oldIsLost],
                does: [.note("\(unwritten), and the next start would be with the old generation")]
            ),
            // In `draining`, its own record is missing: it has not begun, and the next start would be with the old generation.
            Transition(
                Self.unproved + Self.moving + [.draining],
                .journalFailed,
                to: .rollingBack,
                does: [.reason(unwritten)]
            ),
            Transition([.warm, .retiring], .journalFailed, does: [.note(unwritten)]),
            Transition(
                [.rollingBack],
                .journalFailed,
                does: [.note("\(unwritten), and the rollback goes on without it")]
            ),
        ]
    }()

    private static let stops: [Transition] = {
        let stopped: [Effect] = [.reason("the deployment was stopped")]
        return [
            Transition([], .stopped, to: .rolledBack, does: stopped),
            Transition(Self.unproved + Self.moving + [.rollingBack], .stopped, to: .rolledBack, does: stopped),
            Transition(Self.committed + [.retiring], .stopped, to: .done, does: stopped),
        ]
    }()

    private static let pauses: [Transition] = [
        Transition(Self.reversible, .pause, when: [.isPaused], does: [.refuse("it is paused already")]),
        Transition(
            Self.onward,
            .pause,
            when: [.oldIsLost],
            does: [.refuse("the old generation is lost, and the new one must get all requests")]
        ),
        Transition(Self.reversible, .pause, does: [.pause]),
        Transition([.retiring], .pause, does: [.refuse("nothing is left that could be held back")]),
        Transition([.rollingBack], .pause, does: [.refuse("a rollback is not interrupted")]),
        Transition(Self.ends, .pause, does: [.refuse(Self.over)]),
        Transition([], .pause, does: [.refuse(Self.early)]),

        Transition(Self.reversible, .resume, when: [.isPaused], does: [.resume]),
        Transition(Self.reversible + [.retiring, .rollingBack], .resume, does: [.refuse("it is not paused")]),
        Transition(Self.ends, .resume, does: [.refuse(Self.over)]),
        Transition([], .resume, does: [.refuse(Self.early)]),
    ]

    private static let promotions: [Transition] = [
        Transition([.confirming], .promote, to: .shifting, stage: .first),
        Transition(
            [.shifting],
            .promote,
            when: [.isHurried, .isNotPaused],
            does: [.refuse("that was done already, and the rest is being moved")]
        ),
        // The work under way is not thrown away; the next step is then the last one.
        Transition([.shifting], .promote, does: [.hurry, .resume]),
        Transition([.observing], .promote, when: [.isLastStage], to: .draining, does: [.hurry]),
        Transition([.observing], .promote, when: [.rolling], to: .shifting, stage: .next, does: [.hurry]),
        Transition([.observing], .promote, to: .shifting, stage: .last, does: [.hurry]),
        Transition([.warm], .promote, to: .retiring),
        Transition(
            Self.unproved,
            .promote,
            does: [
                .refuse(
                    "the new generation has not shown yet that it answers; wait for it, or take it back with `abort`"
                )
            ]
        ),
        Transition([.draining], .promote, does: [.refuse("the new generation gets all requests already")]),
        Transition([.retiring], .promote, does: [.refuse("the old generation is being stopped already")]),
        Transition([.rollingBack], .promote, does: [.refuse("it is being taken back")]),
        Transition(Self.ends, .promote, does: [.refuse(Self.over)]),
        Transition([], .promote, does: [.refuse(Self.early)]),
    ]

    private static let aborts: [Transition] = [
        Transition(
            Self.onward,
            .abort,
            when: [.oldIsLost],
            does: [.refuse("the old generation is lost, and there is nothing to go back to")]
        ),
        Transition(Self.reversible, .abort, to: .rollingBack, does: [.reason("taken back by hand")]),
        Transition(
            [.retiring],
            .abort,
            does: [.refuse("the old generation is being stopped; once it is gone, migrate to its plane or manifest")]
        ),
        Transition([.rollingBack], .abort, does: [.refuse("that is under way")]),
        Transition(Self.ends, .abort, does: [.refuse(Self.over)]),
        Transition([], .abort, does: [.refuse(Self.early)]),
    ]

    private static let over = "it is over"
    private static let early = "nothing is under way"
}
