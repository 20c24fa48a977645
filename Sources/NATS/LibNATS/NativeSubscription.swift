import CNATS

/// A subscription of libnats without a callback: messages wait in it until they are taken, up to its limits.
///
/// `@unchecked Sendable`: the pointer never changes, and libnats locks the object for each call.
final class NativeSubscription: @unchecked Sendable {
    private let pointer: OpaquePointer

    private let subject: String

    /// - Parameters:
    ///   - pointer: from libnats; it is destroyed with this.
    ///   - subject: what is subscribed to.
    init(_ pointer: OpaquePointer, subject: String) {
        self.pointer = pointer
        self.subject = subject
    }

    deinit { natsSubscription_Destroy(self.pointer) }

    /// What taking a message came to.
    enum Next {
        case message(NATSMessage)
        case empty
        case ended
    }

    func setLimits(messages: Int, bytes: Int) -> NativeStatus {
        NativeStatus(
            natsSubscription_SetPendingLimits(
                self.pointer,
                Int32(clamping: messages),
                Int32(clamping: bytes)
            )
        )
    }

    /// Takes the oldest waiting message; does not wait for one.
    func next() -> Next {
        while true {
            var message: OpaquePointer?
            switch NativeStatus(natsSubscription_NextMsg(&message, self.pointer, 0)) {
            case .ok:
                if let message {
                    return .message(NativeMessage.take(message, likely: self.subject))
                } else {
                    return .empty
                }
            // Says once that messages were dropped, which the counter says better; the next call goes on.
            case .slowConsumer: continue
            // A message that looks like the server's answer for lack of responders makes no sense here; libnats drops it.
            case .noResponders: continue
            case .invalidSubscription, .closed: return .ended
            default: return .empty
            }
        }
    }

    func unsubscribe() { natsSubscription_Unsubscribe(self.pointer) }

    /// Unsubscribes and waits until what had arrived before is taken.
    ///
    /// Blocks.
    func drain(timeout: Duration) {
        let milliseconds = timeout.milliseconds
        guard natsSubscription_DrainTimeout(self.pointer, milliseconds) == NATS_OK else { return }
        natsSubscription_WaitForDrainCompletion(self.pointer, milliseconds + 1000)
    }
}
