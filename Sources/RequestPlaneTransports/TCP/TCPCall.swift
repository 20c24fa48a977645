import NIOCore
import RequestPlane

/// A request on its way to an instance.
final class TCPCall: Sendable {
    let request: EncodedTCPRequest
    let subject: String
    let deadline: NIODeadline
    private let buffer: ResponseBuffer
    private let pending: PendingResponses

    init(
        request: EncodedTCPRequest,
        subject: String,
        deadline: NIODeadline,
        buffer: ResponseBuffer,
        pending: PendingResponses
    ) {
        self.request = request
        self.subject = subject
        self.deadline = deadline
        self.buffer = buffer
        self.pending = pending
        pending.expect(subject, buffer)
    }

    /// Whether nobody waits for it any more.
    var isCancelled: Bool { self.buffer.isCancelled }

    /// The instance has answered.
    func acknowledged(_ acknowledgement: TCPAcknowledgement) {
        if let failure = acknowledgement.failure {
            self.fail(failure)
        } else {
            self.pending.acknowledged(self.subject)
        }
    }

    /// The request will not be answered; a worker that calls home all the same is a stranger.
    func fail(_ failure: PlaneFailure) {
        _ = self.pending.take(self.subject)
        self.buffer.finish(failure)
    }
}
