package import Logging
import NIOCore
import Synchronization

/// Takes an engine's own KV events over ZeroMQ and hands them on as changes to publish.
///
/// Everything happens on the ZeroMQ thread, in order; while the sink works, the library holds messages up to its bound, and
/// what goes over is a gap, which is replayed.
package final class EngineRelay: Sendable {
    package struct Configuration: Sendable, Hashable {
        /// Where the engine publishes, as `tcp://host:port`.
        package var endpoint: String
        /// Where it answers replay requests; nil when it does not.
        package var replayEndpoint: String?
        /// The topic of the engine; empty is every one.
        package var topic: String
        package var rules: RelayRules
        /// How long the engine may be silent within an answer.
        package var replayTimeout: Duration
        /// Live messages that may wait for a replay.
        package var maximumHeldMessages: Int

        package init(
            endpoint: String,
            replayEndpoint: String? = nil,
            topic: String = "",
            rules: RelayRules,
            replayTimeout: Duration = .seconds(5),
            maximumHeldMessages: Int = 10_000
        ) {
            self.endpoint = endpoint
            self.replayEndpoint = replayEndpoint
            self.topic = topic
            self.rules = rules
            self.replayTimeout = replayTimeout
            self.maximumHeldMessages = maximumHeldMessages
        }
    }

    /// Gets changes in order, on the ZeroMQ thread.
    package typealias Sink = @Sendable ([RelayedChange]) -> Void

    private struct State {
        var machine: RelayMachine
        var replay: ActiveReplay?
        var lastReplay = 0
        /// How often each kind of note was written.
        var notes: [String: Int] = [:]
    }

    private struct ActiveReplay {
        var number: Int
        var socket: ZMQSocket?
        var lastAnswer: ContinuousClock.Instant
    }

    private let configuration: Configuration
    private let thread: ZMQThread
    private let logger: Logger
    private let sink: Sink
    private let state: Mutex<State>

    package var statistics: RelayStatistics { self.state.withLock { $0.machine.statistics } }

    /// - Parameters:
    ///   - configuration: which engine.
    ///   - thread: owns the sockets; several relays may share one.
    ///   - logger: for what people should know.
    ///   - sink: gets the changes.
    package init(_ configuration: Configuration, thread: ZMQThread, logger: Logger, sink: @escaping Sink) {
        self.configuration = configuration
        self.thread = thread
        self.logger = logger
        self.sink = sink
        let sequence = EngineSequence(
            canReplay: configuration.replayEndpoint != nil,
            maximumHeldMessages: configuration.maximumHeldMessages
        )
        self.state = Mutex(State(machine: RelayMachine(rules: configuration.rules, sequence: sequence)))
    }

    /// Tells what blocks the model's card has: from now on those of another size are left out.
    package func use(blockSize: Int) { self.state.withLock { $0.machine.use(blockSize: blockSize) } }

    /// Relays until the task is cancelled.
    ///
    /// - Throws: `ZMQError` when the endpoint is not valid, or the library fails.
    package func run() async throws(ZMQError) {
        let (failures, failed) = AsyncStream.makeStream(of: ZMQError.self, bufferingPolicy: .bufferingOldest(1))
        let options = ZMQSocketOptions(
            .subscriber(topics: [self.configuration.topic]),
            .connect(self.configuration.endpoint),
            // What an engine says before the connection is there is lost unless it repeats it, so that must not take long.
            maximumReconnectDelay: .milliseconds(200)
        )
        let (socket, _) = try await self.thread.open(options) { event in
            if case .failed(let error) = event { failed.yield(error) } else { self.live(event) }
        }
        var failure: ZMQError?
        for await error in failures {
            failure = error
            break
        }
        socket.close()
        self.endReplay()
        if let failure { throw failure }
    }

    // MARK: Events

    private func live(_ event: ZMQSocketEvent) {
        switch event {
        case .message(let frames): self.step { $0.machine.published(frames) }
        case .refused(let count): self.step { [$0.machine.refused(frames: count)] }
        case .connected:
            self.logger.debug("connected to the engine's KV events at \(self.configuration.endpoint)")
            self.step { $0.machine.connected() }
        case .disconnected:
            self.logger.debug("lost the engine's KV events at \(self.configuration.endpoint); connecting again")
            self.step { state in
                state.machine.disconnected()
                return []
            }
        case .failed: break
        }
    }

    private func step(_ body: (inout State) -> [RelayMachine.Action]) {
        let (actions, isReplaying) = self.state.withLock { state in (body(&state), state.machine.isReplaying) }
        for action in actions {
            switch action {
            case .publish(let changes): self.sink(changes)
            case .replay(let from): self.startReplay(from)
            case .note(let note): self.write(note)
            }
        }
        if !isReplaying { self.endReplay() }
    }

    // MARK: Replay

    /// Asks the engine on a socket of its own, so that a late answer to an earlier request is never taken for this one's.
    private func startReplay(_ sequence: UInt64) {
        guard let endpoint = self.configuration.replayEndpoint else { return }
        self.endReplay()
        let number = self.state.withLock { state in
            state.lastReplay += 1
            state.replay = ActiveReplay(number: state.lastReplay, lastAnswer: .now)
            return state.lastReplay
        }
        // An engine keeps some thousand messages and sends them in one go: what we cannot hold it drops.
        let options = ZMQSocketOptions(.dealer, .connect(endpoint), highWaterMark: 100_000)
        let socket = self.thread.open(
            options,
            completion: { result in
                if case .failure(let error) = result { self.replay(number, .failed(error)) }
            },
            handler: { event in self.replay(number, event) }
        )
        self.state.withLock { state in
            if state.replay?.number == number { state.replay?.socket = socket }
        }
        do throws(ZMQError) {
            try socket.send(EngineMessage.replayRequest(from: sequence))
        } catch {
            self.replay(number, .failed(error))
        }
        self.watch(number, for: self.configuration.replayTimeout)
    }

    private func replay(_ number: Int, _ event: ZMQSocketEvent) {
        self.step { state in
            guard state.replay?.number == number else { return [] }
            switch event {
            case .message(let frames):
                state.replay?.lastAnswer = .now
                return state.machine.replayed(frames)
            case .refused(let count): return [state.machine.refused(frames: count)]
            case .failed(let error): return state.machine.replayFailed(error.message)
            case .connected, .disconnected: return []
            }
        }
    }

    private func watch(_ number: Int, for time: Duration) {
        self.thread.schedule(after: time) { [weak self] in
            guard let self, let remaining = self.remaining(number) else { return }
            guard remaining <= .zero else { return self.watch(number, for: remaining) }
            let place = self.configuration.replayEndpoint ?? ""
            let reason = "no answer at '\(place)' within \(self.configuration.replayTimeout)"
            self.step { state in
                state.replay?.number == number ? state.machine.replayFailed(reason) : []
            }
        }
    }

    /// How long the engine may still be silent; nil when that replay is over.
    private func remaining(_ number: Int) -> Duration? {
        self.state.withLock { state in
            guard let replay = state.replay, replay.number == number else { return nil }
            return replay.lastAnswer + self.configuration.replayTimeout - .now
        }
    }

    private func endReplay() { self.state.withLock { $0.replay.take() }?.socket?.close() }

    // MARK: Log

    /// Writes a note, each kind ever more rarely: what an engine does wrong it does with every message.
    private func write(_ note: RelayNote) {
        let kind = note.kind
        let count = self.state.withLock { state in
            state.notes[kind, default: 0] += 1
            return state.notes[kind, default: 0]
        }
        let text = "KV events of the engine at \(self.configuration.endpoint): \(note)"
        guard note.isLoss || note.isReset else { return self.logger.debug("\(text)") }
        guard count & (count - 1) == 0 else { return }
        self.logger.log(level: note.isLoss ? .error : .warning, "\(text) (\(count) so far)")
    }
}
