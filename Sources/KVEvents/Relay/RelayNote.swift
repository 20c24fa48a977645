/// What a relay has met that somebody may have to know.
package enum RelayNote: Sendable, Hashable, CustomStringConvertible {
    /// A message that is no engine message.
    case refusedMessage(String)
    /// A batch that cannot be read; none of its events is published.
    case refusedBatch(sequence: UInt64, reason: String)
    /// An event of an unknown kind, which is left out.
    case unknownEvent(String)
    /// Blocks of another size than the worker's are left out.
    case otherBlockSize(engine: Int, relay: Int)
    /// A store with fewer or more tokens than its blocks have.
    case tokensMissing(blocks: Int, tokens: Int)
    /// Messages were missing, or there was a new connection, and the engine is asked for them again.
    case replaying(from: UInt64)
    /// The engine has not answered.
    case replayFailed(String)
    /// All blocks of the engine were taken back.
    case forgot(EngineSequence.Loss)
    /// The engine's first messages are gone: blocks from that time are unknown.
    case incomplete(before: UInt64)

    /// How bad it is: whether routing was wrong or is worse than it could be because of it.
    package var isLoss: Bool {
        switch self {
        case .replaying, .unknownEvent, .forgot(.restarted): false
        default: true
        }
    }

    /// Whether blocks were taken back.
    package var isReset: Bool { if case .forgot = self { true } else { false } }

    /// What is counted together.
    package var kind: String {
        switch self {
        case .refusedMessage: "refused message"
        case .refusedBatch: "refused batch"
        case .unknownEvent(let kind): "unknown event \(kind.prefix(40))"
        case .otherBlockSize: "other block size"
        case .tokensMissing: "tokens missing"
        case .replaying: "replaying"
        case .replayFailed: "replay failed"
        case .forgot: "forgot"
        case .incomplete: "incomplete"
        }
    }

    package var description: String {
        switch self {
        case .refusedMessage(let reason):
            "a message that is no engine event was left out: \(reason); check that the endpoint is the engine's"
        case .refusedBatch(let sequence, let reason): "message \(sequence) of the engine was left out: \(reason)"
        case .unknownEvent(let kind): "events of the unknown kind '\(kind)' are left out"
        case .otherBlockSize(let engine, let relay):
            "the engine's blocks have \(engine) tokens, those of the model card \(relay): none of them is published; "
                + "give both the same block size"
        case .tokensMissing(let blocks, let tokens):
            "\(blocks) blocks came with \(tokens) tokens, which does not fit; only blocks with all tokens are published"
        case .replaying(let from): "asking the engine for its messages from \(from) on"
        case .replayFailed(let reason): "the engine's replay endpoint does not help: \(reason)"
        case .forgot(.missed(let from, let to)):
            "messages \(from) to \(to) of the engine are lost and cannot be had again: all of its blocks were taken back, "
                + "because an engine cannot be asked for its whole state; prompts find them again as they are computed"
        case .forgot(.restarted): "the engine has started again: the blocks it had before were taken back"
        case .forgot(.unverified):
            "the connection to the engine was lost and it cannot be asked what was missed: all of its blocks were taken back"
        case .incomplete(let sequence):
            "the engine no longer has its messages before \(sequence): blocks from before are not known"
        }
    }
}
