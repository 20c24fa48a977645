internal import Deployment

/// What an earlier launcher leaves to this one.
extension ReplicaMachine {
    /// How far the replica's process is, for the next launcher.
    var keptNote: KeptNote {
        var note = KeptNote()
        note.isHalted = self.isHalted
        note.wasReady = self.wasReady
        if let run = self.run {
            note.matched = run.matched
            note.isNotified = run.isNotified
        }
        switch self.state {
        case .ending(_, .exit), .clearing(_, .exit, _): break
        case .ending, .clearing: note.isEnding = true
        case .waiting, .starting, .ready, .unready, .backingOff, .stopped, .failed: break
        }
        return note
    }

    /// A replica whose process an earlier launcher has started.
    ///
    /// - Parameters:
    ///   - number: of the process among those of the replica.
    ///   - restarts: how many there had been, and of these, how many a person had asked for.
    ///   - note: how far it was.
    ///   - pid: nil: it has ended, which is told afterwards.
    ///   - startedAt: when it was started.
    ///   - now: the time.
    /// - Returns: what is to be done; whether it is alive or has ended is told afterwards.
    mutating func adopt(
        run number: Int,
        restarts: (all: Int, askedFor: Int),
        note: KeptNote,
        pid: Int32?,
        startedAt: ContinuousClock.Instant,
        at now: ContinuousClock.Instant
    ) -> [Action] {
        guard case .waiting = self.state else { return [] }
        var run = Run(number: number, startedAt: startedAt, pid: pid, waitingSince: now)
        run.matched = note.matched
        run.isNotified = note.isNotified
        self.runs = number
        (self.restarts, self.restartsAskedFor) = restarts
        self.wasReady = note.wasReady
        self.isHalted = note.isHalted
        guard !note.isEnding, !note.isHalted else {
            // Whoever told it to end wanted another one in its place, or none.
            return self.beginEnding(run, note.isHalted ? .stop : .replace, at: now)
        }
        self.state = .starting(run)
        var actions: [Action] = [.stateChanged(nil), .arm(.stuck, at: now + Self.stuckAfter)]
        if let limit = self.schedule.timing.startupTimeout {
            actions.append(.arm(.startup, at: now + .seconds(limit)))
        }
        return actions
    }
}
