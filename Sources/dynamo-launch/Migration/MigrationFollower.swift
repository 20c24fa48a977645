import FoundationEssentials
import Glibc
import Supervisor
import UnixSignals

/// Follows a migration for a person: shows it, asks what is to be asked, and obeys Ctrl-C.
struct MigrationFollower: Sendable {
    /// Whose migration it is.
    enum Role: Sendable, Hashable {
        /// Ctrl-C takes it back.
        case owner
        /// Ctrl-C only leaves.
        case watcher
    }

    /// What a follower is left with.
    enum Outcome: Sendable {
        /// Its end, or `warm` when no more was wanted.
        case status(MigrationStatus)
        /// A person left.
        case left
    }

    /// Calls back with each status until false is returned.
    typealias Source =
        @Sendable (_ client: ControlClient, _ receive: @Sendable (MigrationStatus) async throws -> Bool) async throws
        -> Void

    let deployment: RunningDeployment
    let hints: MigrationHints
    let role: Role
    let json: Bool
    /// Whether all is said when the new generation has everything, although the old one still runs.
    let endsWhenWarm: Bool

    private enum Event: Sendable {
        case status(MigrationStatus)
        /// Why, if not because all was said.
        case sourceEnded(String?)
        case signal(UnixSignal)
        case obeyed(MigrationCommand, ControlClient.Failure?)
        /// Nil: nobody is there to type.
        case typed(String?)
    }

    /// What is remembered from event to event.
    private struct State {
        var output: MigrationOutput
        var last: MigrationStatus?
        var interrupts = 0
        var isAbortAsked = false
        var isReading = false
        /// Whether how to go on was said, where nobody can be asked.
        var isPromptSaid = false
        var canAsk: Bool
    }

    /// Follows to the end.
    ///
    /// - Parameter source: where the statuses come from.
    /// - Returns: what it is left with.
    /// - Throws: an exit code, after saying what is wrong.
    func run(_ source: @escaping Source) async throws -> Outcome {
        let signals = await UnixSignalsSequence(trapping: [.sigint, .sigterm, .sighup])
        let (events, sender) = AsyncStream.makeStream(of: Event.self)
        let output = MigrationOutput(
            json: self.json,
            hints: self.hints,
            environment: ProcessInfo.processInfo.environment
        )
        var state = State(output: output, canAsk: output.canAsk)
        let client = self.deployment.client
        return try await withThrowingDiscardingTaskGroup { group in
            group.addTask {
                for await signal in signals { sender.yield(.signal(signal)) }
            }
            group.addTask {
                do {
                    try await source(client) { status in
                        sender.yield(.status(status))
                        return !(self.endsWhenWarm && status.step == .warm)
                    }
                    sender.yield(.sourceEnded(nil))
                } catch {
                    // Cancelled: nobody reads events any more.
                    if !Task.isCancelled { sender.yield(.sourceEnded("\(error)")) }
                }
            }
            defer { group.cancelAll() }
            for await event in events {
                var work: [@Sendable () async -> Void] = []
                let outcome = try await self.take(event, &state, sender, &work)
                for task in work { group.addTask { await task() } }
                if let outcome {
                    state.output.end()
                    return outcome
                }
            }
            return .left
        }
    }

    private func take(
        _ event: Event,
        _ state: inout State,
        _ sender: AsyncStream<Event>.Continuation,
        _ work: inout [@Sendable () async -> Void]
    ) async throws -> Outcome? {
        let client = self.deployment.client
        func obey(_ command: MigrationCommand) {
            work.append {
                do {
                    _ = try await client.migration(command)
                    sender.yield(.obeyed(command, nil))
                } catch let failure as ControlClient.Failure {
                    sender.yield(.obeyed(command, failure))
                } catch {}
            }
        }
        switch event {
        case .status(let status):
            let isFirst = state.last == nil
            state.last = status
            let isConfirming = status.step == .confirming && !status.isPaused && !state.isAbortAsked
            let asks = isConfirming && state.canAsk
            try state.output.show(status, question: asks ? self.question(status) : nil)
            if isFirst, state.isAbortAsked { obey(.abort) }
            if asks, !state.isReading {
                state.isReading = true
                work.append { await TypedLines.read { sender.yield(.typed($0)) } }
            } else if isConfirming, !state.canAsk, self.role == .owner, !state.isPromptSaid {
                state.isPromptSaid = true
                state.output.say(self.waitsForPerson(status))
            }
            return Terminal.isReaderGone ? .left : nil
        case .sourceEnded(let failure):
            state.output.end()
            return try await self.ended(failure, state)
        case .signal(let signal):
            return try await self.interrupt(signal, &state, obey)
        case .obeyed(_, let failure?) where failure.isNotRunning:
            state.output.end()
            return try await self.ended("\(failure)", state)
        case .obeyed(.abort, let failure?):
            state.isAbortAsked = false
            state.output.say("it is not taken back: \(failure); once more (Ctrl-C) to leave it alone")
        case .obeyed(_, let failure?):
            state.output.say("\(failure)")
        case .obeyed:
            break
        case .typed(let line):
            try self.typed(line, &state, obey)
        }
        return nil
    }

    private func interrupt(
        _ signal: UnixSignal,
        _ state: inout State,
        _ obey: (MigrationCommand) -> Void
    ) async throws -> Outcome? {
        state.interrupts += 1
        // Nobody is at the terminal after a hangup.
        if signal == .sighup || self.role == .watcher || state.interrupts > 1 {
            if !(state.last?.step.isEnd ?? false) { try await self.leave(&state) }
            return .left
        }
        state.isAbortAsked = true
        state.output.say(
            state.last == nil
                ? "taking it back as soon as it has begun; once more (Ctrl-C) to leave it alone"
                : "taking it back, as asked for; once more (Ctrl-C) to leave while it goes on"
        )
        if state.last != nil { obey(.abort) }
        return nil
    }

    /// Says what goes on without the person who leaves.
    ///
    /// - Throws: an exit code, after saying what comes next, when there is no launcher any more in which anything could go on.
    private func leave(_ state: inout State) async throws {
        let what = state.isAbortAsked ? "the rollback" : "the migration"
        do {
            _ = try await self.deployment.client.status()
            let look = self.hints.command("migrate status --follow")
            state.output.say("\(what) goes on in the launcher; look with: \(look)")
        } catch let failure as ControlClient.Failure where !failure.isNotRunning {
            state.output.say("whether \(what) goes on is not known: \(failure)")
        } catch {
            state.output.end()
            throw RunningDeployment.failure(self.launcherGone(state))
        }
    }

    private func launcherGone(_ state: State) -> String {
        let goesOn = !RunningDeployment.orphans(self.deployment.name).isEmpty
        return MigrationEnding.launcherGone(state.last, hints: self.hints, goesOn: goesOn)
    }

    private func typed(_ line: String?, _ state: inout State, _ obey: (MigrationCommand) -> Void) throws {
        guard let status = state.last else { return }
        guard let line else {
            state.canAsk = false
            return try state.output.show(status)
        }
        state.output.answered()
        guard status.step == .confirming, !state.isAbortAsked else { return }
        switch line.lowercased() {
        case "y", "yes": obey(.promote)
        case "n", "no":
            state.isAbortAsked = true
            obey(.abort)
        default: return try state.output.show(status, question: self.question(status))
        }
        try state.output.show(status)
    }

    private func question(_ status: MigrationStatus) -> String {
        "let clients reach \(MigrationWords.name(status.to))? [y/n] "
    }

    private func waitsForPerson(_ status: MigrationStatus) -> String {
        "\(MigrationWords.name(status.to)) waits for a person: go on with: \(self.hints.command("migrate promote")); "
            + "take it back with: \(self.hints.command("migrate abort"))"
    }

    /// Nothing more comes.
    private func ended(_ failure: String?, _ state: State) async throws -> Outcome {
        if let last = state.last, last.step.isEnd || self.endsWhenWarm && last.step == .warm { return .status(last) }
        let name = self.deployment.name
        // Refused: nothing was begun that could have ended.
        if state.last == nil, let failure, await self.deployment.isRunning {
            throw RunningDeployment.failure("error: deployment \(name): \(failure)")
        }
        guard await self.isLauncherThere() else {
            throw RunningDeployment.failure(self.launcherGone(state))
        }
        guard failure != nil else {
            throw RunningDeployment.failure(
                "error: deployment \(name): its launcher said no more of the migration; look with: "
                    + self.hints.command("migrate status")
            )
        }
        throw RunningDeployment.failure(
            "error: deployment \(name): the connection to its launcher broke, which goes on; look with: "
                + self.hints.command("migrate status --follow")
        )
    }
}

extension MigrationFollower {
    /// A launcher that ends may answer for a moment after it has said its last.
    private func isLauncherThere() async -> Bool {
        let deadline = ContinuousClock.now + .seconds(3)
        while await self.deployment.isRunning {
            guard ContinuousClock.now < deadline, !Task.isCancelled else { return true }
            try? await Task.sleep(for: .milliseconds(50))
        }
        return false
    }
}

/// What a person types at the terminal.
enum TypedLines {
    private static let pause = Duration.milliseconds(50)

    /// Reads until the task is cancelled or nobody is there any more.
    ///
    /// Nothing blocks: a read that waits for a person could not be taken back.
    ///
    /// - Parameter receive: gets each line without spaces around it; nil at the end of input.
    static func read(_ receive: (String?) -> Void) async {
        // What was typed before the question is no answer to it.
        tcflush(STDIN_FILENO, TCIFLUSH)
        var bytes = [UInt8](repeating: 0, count: 1024)
        while !Task.isCancelled {
            var poller = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
            // Reading in the background would stop the program.
            guard tcgetpgrp(STDIN_FILENO) == getpgrp(), poll(&poller, 1, 0) > 0 else {
                try? await Task.sleep(for: self.pause)
                continue
            }
            let count = Glibc.read(STDIN_FILENO, &bytes, bytes.count)
            guard count > 0 else { return receive(nil) }
            let text = String(decoding: bytes[..<count], as: UTF8.self)
            receive(String(text.filter { !$0.isWhitespace }))
        }
    }
}
