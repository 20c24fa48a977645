import KVRouter
package import NIOCore

/// Makes changes to publish of what comes from an engine.
///
/// Holds all state of a relay; whoever owns it performs the actions in order.
package struct RelayMachine: Sendable {
    package enum Action: Sendable, Hashable {
        /// Never empty, in order.
        case publish([RelayedChange])
        /// Ask the engine for its messages from this one on; takes the place of a replay that is under way.
        case replay(from: UInt64)
        case note(RelayNote)
    }

    private var rules: RelayRules
    private var sequence: EngineSequence
    /// Those that have published blocks, which is what must be taken back from.
    private var ranks: Set<UInt32> = []
    private var counted = RelayStatistics()

    package var statistics: RelayStatistics {
        var statistics = self.counted
        statistics.heldBack = self.sequence.dropped
        statistics.gaps = self.sequence.gaps
        statistics.expected = self.sequence.expected
        return statistics
    }

    package var isReplaying: Bool { self.sequence.isReplaying }

    /// - Parameters:
    ///   - rules: those of the release that is published for.
    ///   - sequence: a new one, with its bounds.
    package init(rules: RelayRules, sequence: EngineSequence) {
        self.rules = rules
        self.sequence = sequence
    }

    // MARK: Input

    /// The model's card is known: from now on blocks of another size are left out.
    package mutating func use(blockSize: Int) { self.rules.blockSize = blockSize }

    package mutating func connected() -> [Action] {
        self.counted.connections += 1
        return self.perform(self.sequence.connected())
    }

    package mutating func disconnected() { self.sequence.disconnected() }

    /// A message came on the subscription.
    package mutating func published(_ frames: [ByteBuffer]) -> [Action] {
        self.counted.messages += 1
        do throws(EngineMessageError) {
            return self.perform(self.sequence.published(try EngineMessage(published: frames)))
        } catch {
            return [self.refuse(error)]
        }
    }

    /// A message came from the replay endpoint.
    package mutating func replayed(_ frames: [ByteBuffer]) -> [Action] {
        do throws(EngineMessageError) {
            guard let message = try EngineMessage.replayed(frames) else {
                return self.perform(self.sequence.replayEnded())
            }
            self.counted.replayedMessages += 1
            return self.perform(self.sequence.replayed(message))
        } catch {
            return [self.refuse(error)]
        }
    }

    /// The replay endpoint gave no answer, or none to its end.
    package mutating func replayFailed(_ reason: String) -> [Action] {
        guard self.sequence.isReplaying else { return [] }
        self.counted.failedReplays += 1
        return [.note(.replayFailed(reason))] + self.perform(self.sequence.replayFailed())
    }

    /// A message had too many frames to be one.
    package mutating func refused(frames: Int) -> Action {
        self.refuse(EngineMessageError("a message of \(frames) frames"))
    }

    // MARK: Actions

    private mutating func perform(_ actions: [EngineSequence.Action]) -> [Action] {
        var result: [Action] = []
        for action in actions {
            switch action {
            case .apply(let message): result += self.apply(message)
            case .replay(let from):
                self.counted.replays += 1
                result += [.note(.replaying(from: from)), .replay(from: from)]
            case .forget(let loss): result += self.forget(loss)
            case .incomplete(let sequence): result.append(.note(.incomplete(before: sequence)))
            }
        }
        return result
    }

    private mutating func apply(_ message: EngineMessage) -> [Action] {
        let batch: EngineBatch
        do throws(EngineMessageError) {
            batch = try EngineBatch(message.payload)
        } catch {
            self.counted.refusedMessages += 1
            return [.note(.refusedBatch(sequence: message.sequence, reason: error.description))]
        }
        let translation = EngineTranslation(batch, self.rules)
        self.counted.events += batch.events.count
        self.counted.changes += translation.changes.count
        let notes = translation.notes.map { Action.note($0) }
        guard !translation.changes.isEmpty else { return notes }
        self.ranks.insert(batch.rank)
        return notes + [.publish(translation.changes)]
    }

    private mutating func forget(_ loss: EngineSequence.Loss) -> [Action] {
        self.counted.resets += 1
        let cleared = self.ranks.sorted().map { RelayedChange(.cleared, rank: $0) }
        self.ranks = []
        self.counted.changes += cleared.count
        return [.note(.forgot(loss))] + (cleared.isEmpty ? [] : [.publish(cleared)])
    }

    private mutating func refuse(_ error: EngineMessageError) -> Action {
        self.counted.refusedMessages += 1
        return .note(.refusedMessage(error.description))
    }
}
