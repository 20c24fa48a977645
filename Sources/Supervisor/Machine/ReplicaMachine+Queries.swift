internal import Deployment

/// What others ask about a replica.
extension ReplicaMachine {
    /// The run that exists, in any state.
    var run: Run? {
        switch self.state {
        case .starting(let run), .ready(let run), .unready(let run), .ending(let run, _), .clearing(let run, _, _): run
        case .waiting, .backingOff, .stopped, .failed: nil
        }
    }

    /// Whether dependents that wait for a layer may start.
    ///
    /// A replica that did its work keeps the layers that it had reached.
    func satisfies(_ layer: ReadinessLayer) -> Bool {
        switch self.state {
        case .ready: true
        case .starting, .unready: (self.lastLayer ?? .alive) >= layer && self.lastLayer != nil
        case .stopped: !self.isHalted && (self.lastLayer.map { $0 >= layer } ?? false)
        case .waiting, .ending, .clearing, .backingOff, .failed: false
        }
    }

    var isReadyOrDone: Bool {
        switch self.state {
        case .ready: true
        case .stopped: !self.isHalted
        case .waiting, .starting, .unready, .ending, .clearing, .backingOff, .failed: false
        }
    }

    /// Nothing more comes of it by itself: it is ready, has done its work, or was stopped by a person.
    var isSettled: Bool {
        switch self.state {
        case .ready, .stopped: true
        case .failed: self.isHalted
        case .waiting, .starting, .unready, .ending, .clearing, .backingOff: false
        }
    }

    /// Is on its way to a process that is ready, by itself.
    var isStarting: Bool {
        switch self.state {
        case .starting, .clearing, .backingOff: true
        case .waiting: self.missingServer != nil
        case .ready, .unready, .ending, .stopped, .failed: false
        }
    }

    /// Waits for its dependencies, or for servers outside the deployment.
    var isWaiting: Bool { if case .waiting = self.state { true } else { false } }

    /// Whether being ready means no more of it than that it was started.
    var mayBeShortLived: Bool { !self.isDone && self.schedule.layers.allSatisfy { $0.layer == .alive } }

    /// Has ended as it should, and is not to come back.
    var isDone: Bool { if case .stopped = self.state { !self.isHalted } else { false } }

    /// Nothing runs and nothing is left behind.
    var isGone: Bool {
        switch self.state {
        case .stopped, .failed: true
        case .waiting, .starting, .ready, .unready, .ending, .clearing, .backingOff: false
        }
    }

    /// Has a process that may be answering requests.
    var hasServingProcess: Bool {
        switch self.state {
        case .ready, .unready: true
        case .waiting, .starting, .ending, .clearing, .backingOff, .stopped, .failed: false
        }
    }

    /// Has no process.
    var isIdle: Bool {
        switch self.state {
        case .waiting, .backingOff: true
        case .starting, .ready, .unready, .ending, .clearing, .stopped, .failed: false
        }
    }

    var isStoppingOrGone: Bool {
        switch self.state {
        case .ending(_, .stop), .clearing(_, .stop, _), .stopped, .failed: true
        case .waiting, .starting, .ready, .unready, .ending, .clearing, .backingOff: false
        }
    }

    /// The state as it is shown.
    var shownState: ReplicaStatus.State {
        switch self.state {
        case .waiting: .waiting
        case .starting: .starting
        case .ready: .ready
        case .unready: .unready
        case .ending(_, .stop), .clearing(_, .stop, _): .stopping
        case .ending(_, .replace), .clearing(_, .replace, _): .restarting
        case .ending: .unready
        case .clearing, .backingOff: .backingOff
        case .stopped: .stopped
        case .failed: .failed
        }
    }

    /// The layer that is being waited for and what its probe said last, or the end, in words.
    func waitingFor(at now: ContinuousClock.Instant) -> String? {
        switch self.state {
        case .starting(let run):
            guard run.next < self.schedule.layers.count else { return nil }
            let layer = self.schedule.layers[run.next].layer.rawValue
            return (run.lastReason ?? run.status).map { "\(layer): \($0)" } ?? layer
        case .unready(let run):
            return run.lastReason
        case .stopped where self.isHalted:
            return "a person who starts it again: dynamo-launch start \(self.plan.name)"
        case .ending(let run, _):
            if run.killed { return "its end after SIGKILL" }
            guard let since = run.endingSince else { return nil }
            let waited = (now - since).inSeconds
            let left = max(0, self.plan.stop.grace - waited)
            return
                "its end: \(self.plan.stop.signalName) \(waited.inWholeSeconds) s ago, SIGKILL in \(left.inWholeSeconds) s"
        case .clearing:
            return "the end of what its process has left: processes, GPU memory"
        case .waiting:
            return self.missingServer.map { "\($0) to answer" }
        case .ready, .backingOff, .stopped, .failed:
            return nil
        }
    }
}

extension Double {
    /// `3`, for people who watch.
    fileprivate var inWholeSeconds: Int { Int(self.rounded()) }
}
