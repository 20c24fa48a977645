import NIOCore

/// The order of an engine's messages: finds what was lost and what is no longer the same engine.
///
///     following ──gap, new connection──▶ replaying ──end of the answer, failure──▶ following
///
/// Live messages that come during a replay are held, to a bound; what is dropped over the bound is a gap, which the next
/// replay closes. An engine that has started again counts from 0 again; what it had before is forgotten first.
package struct EngineSequence: Sendable {
    package enum Action: Sendable, Hashable {
        /// The next message in order.
        case apply(EngineMessage)
        /// Ask the engine for its messages from this one on; takes the place of a replay that is under way.
        case replay(from: UInt64)
        /// What was applied before may be wrong now.
        case forget(Loss)
        /// The engine no longer has its messages before this one; what follows is true, but not everything.
        case incomplete(before: UInt64)
    }

    /// Why what is known of an engine is not kept.
    package enum Loss: Sendable, Hashable {
        /// These messages cannot be had any more.
        case missed(from: UInt64, to: UInt64)
        /// The engine counts from the start again, or does not know its last message.
        case restarted
        /// After a lost connection nobody can say whether it is the same engine.
        case unverified
    }

    private enum Purpose: Sendable {
        case start
        case gap
        /// The first answer must be the last message that was applied.
        case verify
    }

    private struct Replay: Sendable {
        var purpose: Purpose
        /// Whether a message was known when the question was asked that the answer must lead to; what came later may have been
        /// preceded by others that were lost, and asking again brings them.
        var leadsToKnown = false
        var hasProgressed = false
    }

    private struct Held: Sendable {
        var messages: [EngineMessage] = []
        var bytes = 0
    }

    private let canReplay: Bool
    private let maximumHeldMessages: Int
    private let maximumHeldBytes: Int
    /// Nil while following.
    private var replay: Replay?
    private var held = Held()
    private var last: EngineMessage?
    private var lastLive: UInt64?
    private var wasConnected = false
    /// Times that messages were missing on the subscription.
    package private(set) var gaps = 0
    /// Live messages that were dropped over the bound.
    package private(set) var dropped = 0

    package var isReplaying: Bool { self.replay != nil }

    /// The number of the next message; nil when nothing was applied.
    package var expected: UInt64? { self.last.map { $0.sequence &+ 1 } }

    /// - Parameters:
    ///   - canReplay: whether the engine has a replay endpoint.
    ///   - maximumHeldMessages: live messages that may wait for a replay.
    ///   - maximumHeldBytes: their size.
    package init(canReplay: Bool, maximumHeldMessages: Int = 10_000, maximumHeldBytes: Int = 64 << 20) {
        self.canReplay = canReplay
        self.maximumHeldMessages = maximumHeldMessages
        self.maximumHeldBytes = maximumHeldBytes
    }

    // MARK: Connections

    /// The subscription has a connection.
    package mutating func connected() -> [Action] {
        defer { self.wasConnected = true }
        self.lastLive = nil
        self.held = Held()
        guard let last else { return self.canReplay ? self.begin(.start, from: 0) : [] }
        guard self.canReplay else { return self.wasConnected ? self.forget(.unverified) : [] }
        return self.begin(.verify, from: last.sequence)
    }

    /// The subscription has lost its connection.
    package mutating func disconnected() {
        // What is held can be had again; whether it should, the next connection tells.
        self.replay = nil
        self.held = Held()
    }

    // MARK: Live messages

    /// A message was published.
    package mutating func published(_ message: EngineMessage) -> [Action] {
        if let lastLive, message.sequence <= lastLive {
            self.lastLive = message.sequence
            return self.restarted(holding: [message])
        }
        self.lastLive = message.sequence
        guard self.replay == nil else {
            self.hold(message)
            return []
        }
        return self.follow([message][...], mayReplay: true)
    }

    /// Applies messages in their order until one is missing.
    private mutating func follow(_ messages: ArraySlice<EngineMessage>, mayReplay: Bool) -> [Action] {
        var actions: [Action] = []
        var messages = messages
        var mayReplay = mayReplay
        while let message = messages.first {
            let expected = self.expected ?? 0
            if message.sequence > expected {
                if mayReplay, self.last != nil { self.gaps += 1 }
                if mayReplay, self.canReplay {
                    for message in messages { self.hold(message) }
                    return actions + self.begin(self.last == nil ? .start : .gap, from: expected)
                }
                actions += self.skip(to: message.sequence)
            }
            messages = messages.dropFirst()
            // A lower number came with a replay already.
            if message.sequence >= expected {
                actions.append(self.apply(message))
                mayReplay = true
            }
        }
        return actions
    }

    /// Gives up what is missing before a message.
    private mutating func skip(to sequence: UInt64) -> [Action] {
        guard let expected else { return [.incomplete(before: sequence)] }
        return self.forget(.missed(from: expected, to: sequence - 1))
    }

    // MARK: Replayed messages

    /// A part of the answer to a replay request has come.
    package mutating func replayed(_ message: EngineMessage) -> [Action] {
        guard let replay else { return [] }
        if replay.purpose == .verify {
            guard message == self.last else { return self.restarted(holding: []) }
            self.replay = Replay(purpose: .gap, hasProgressed: true)
            return []
        }
        let expected = self.expected ?? 0
        guard message.sequence >= expected else { return [] }
        guard message.sequence > expected else {
            self.replay?.hasProgressed = true
            return [self.apply(message)]
        }
        // A hole inside the answer: the engine's socket dropped what we were too slow for. Asking again brings it.
        if replay.hasProgressed { return self.begin(.gap, from: expected) }
        let skipped = self.skip(to: message.sequence)
        self.replay?.hasProgressed = true
        return skipped + [self.apply(message)]
    }

    /// The answer to a replay request is complete.
    package mutating func replayEnded() -> [Action] {
        guard let replay else { return [] }
        if replay.purpose == .verify { return self.restarted(holding: []) }
        return self.release(mayReplay: replay.hasProgressed || !replay.leadsToKnown)
    }

    /// No answer, or none to its end.
    package mutating func replayFailed() -> [Action] {
        guard let replay else { return [] }
        let forgotten = replay.purpose == .verify ? self.forget(.unverified) : []
        return forgotten + self.release(mayReplay: false)
    }

    private mutating func release(mayReplay: Bool) -> [Action] {
        self.replay = nil
        let messages = self.held.messages
        self.held = Held()
        return self.follow(messages[...], mayReplay: mayReplay)
    }

    // MARK: Helpers

    private mutating func begin(_ purpose: Purpose, from sequence: UInt64) -> [Action] {
        self.replay = Replay(purpose: purpose, leadsToKnown: !self.held.messages.isEmpty)
        return [.replay(from: sequence)]
    }

    private mutating func restarted(holding messages: [EngineMessage]) -> [Action] {
        self.replay = nil
        self.held = Held()
        let forgotten = self.forget(.restarted)
        guard self.canReplay else { return forgotten + self.follow(messages[...], mayReplay: false) }
        for message in messages { self.hold(message) }
        return forgotten + self.begin(.start, from: 0)
    }

    private mutating func forget(_ loss: Loss) -> [Action] {
        let hadSomething = self.last != nil
        self.last = nil
        return hadSomething ? [.forget(loss)] : []
    }

    private mutating func apply(_ message: EngineMessage) -> Action {
        self.last = message
        return .apply(message)
    }

    private mutating func hold(_ message: EngineMessage) {
        let bytes = message.payload.readableBytes
        let hasRoom =
            self.held.messages.count < self.maximumHeldMessages && self.held.bytes + bytes <= self.maximumHeldBytes
        guard self.held.messages.isEmpty || hasRoom else {
            self.dropped += 1
            return
        }
        self.held.messages.append(message)
        self.held.bytes += bytes
    }
}
