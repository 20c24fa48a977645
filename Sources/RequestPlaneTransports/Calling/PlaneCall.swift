import NIOCore
import RequestPlane

/// A request on its way to an instance, encoded as its plane wants it.
final class PlaneCall<Request: Sendable>: Sendable {
    let request: Request
    let subject: String
    /// When the time for the acknowledgement is over.
    let deadline: NIODeadline
    private let buffer: ResponseBuffer
    private let pending: PendingResponses
    private let isSecondAttempt: Bool

    init(
        request: Request,
        address: String,
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
        self.isSecondAttempt = false
        pending.expect(subject, from: address, buffer)
    }

    private init(again call: PlaneCall) {
        self.request = call.request
        self.subject = call.subject
        self.deadline = call.deadline
        self.buffer = call.buffer
        self.pending = call.pending
        self.isSecondAttempt = true
    }

    /// The same request once more, for a connection that was closed while it was idle.
    ///
    /// Should the instance have taken the request all the same, its second call-home finds no subject and is reset, so the answer comes
    /// once. Nil when there was a second attempt, or nobody waits.
    var secondAttempt: PlaneCall? {
        self.isSecondAttempt || self.isCancelled || !self.pending.contains(self.subject) ? nil : PlaneCall(again: self)
    }

    /// Whether nobody waits for it any more.
    var isCancelled: Bool { self.buffer.isCancelled }

    /// The instance has taken the request, and must call home now.
    func acknowledged() { self.pending.acknowledged(self.subject) }

    /// The request will not be answered, unless its worker has called home already: then the acknowledgement does not matter.
    func fail(_ failure: PlaneFailure) { self.pending.withdraw(self.subject)?.finish(failure) }
}

/// A request for the TCP plane.
typealias TCPCall = PlaneCall<EncodedTCPRequest>

extension TCPCall {
    /// The instance has answered.
    func acknowledged(_ acknowledgement: TCPAcknowledgement) {
        if let failure = acknowledgement.failure { self.fail(failure) } else { self.acknowledged() }
    }
}
