import NIOCore
import NIOSSL
import NIOTLS

/// Waits above a TLS handler until the session is set up, and says in plain words why it was not.
///
/// A handshake that fails or takes too long ends the connection. Later TLS errors are passed on in the same words, because in TLS 1.3 a
/// client learns only after its handshake that the server did not like its certificate.
final class HandshakeGate: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    enum Role: Sendable {
        case client
        case server
    }

    private let role: Role
    private let timeout: Duration
    private var timer: Scheduled<Void>?
    /// Called once: with nil when bytes can travel, else with the reason why they cannot.
    private var onEnd: ((String?) -> Void)?

    init(_ role: Role, timeout: Duration, onEnd: @escaping (String?) -> Void) {
        self.role = role
        self.timeout = timeout
        self.onEnd = onEnd
    }

    func handlerAdded(context: ChannelHandlerContext) { if context.channel.isActive { self.start(context) } }

    func channelActive(context: ChannelHandlerContext) {
        self.start(context)
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event { self.end(nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A peer that closes without saying so in TLS: what it left undone shows in the protocol above.
        if case NIOSSLError.uncleanShutdown = error, self.onEnd == nil { return }
        let failure = HandshakeFailure(self.reason(error))
        self.end(self.reason(error))
        context.fireErrorCaught(failure)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.end(Self.closedEarly)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.end(Self.closedEarly) }

    // MARK: End

    private static let closedEarly = "the other side closed the connection during the handshake; does it speak TLS?"

    private func start(_ context: ChannelHandlerContext) {
        guard self.timer == nil, self.onEnd != nil else { return }
        let bound = NIOLoopBound((gate: self, context: context), eventLoop: context.eventLoop)
        self.timer = context.eventLoop.scheduleTask(in: TimeAmount(self.timeout)) {
            let (gate, context) = bound.value
            gate.end(
                "the handshake did not end within \(gate.timeout) (\(TransportSecurity.Variable.handshakeTimeout)); "
                    + "does the other side speak TLS?"
            )
            context.close(promise: nil)
        }
    }

    private func end(_ reason: String?) {
        self.timer?.cancel()
        self.timer = nil
        guard let onEnd = self.onEnd else { return }
        self.onEnd = nil
        onEnd(reason)
    }

    // MARK: Words

    private func reason(_ error: any Error) -> String {
        let text = "\(error)"
        if let known = Self.known.first(where: { text.contains($0.mark) }) {
            return self.role == .client ? known.forClient : known.forServer
        }
        return text
    }

    private typealias Variable = TransportSecurity.Variable

    /// Marks in the errors of the TLS library, and what they mean here.
    private static let known: [(mark: String, forClient: String, forServer: String)] = [
        (
            "CERTIFICATE_VERIFY_FAILED",
            "the server's certificate does not come from an authority in \(Variable.authority), or is not valid now",
            "the client's certificate does not come from an authority in \(Variable.clientAuthority), or is not valid now"
        ),
        (
            "PEER_DID_NOT_RETURN_A_CERTIFICATE",
            "the server shows no certificate",
            "the client shows no certificate, which \(Variable.clientAuthority) demands; it needs \(Variable.clientCertificate)"
        ),
        (
            "CERTIFICATE_REQUIRED",
            "the server demands a client certificate: set \(Variable.clientCertificate) and \(Variable.clientKey)",
            "the client demands a certificate"
        ),
        (
            "UNKNOWN_CA",
            "the server does not trust our client certificate in \(Variable.clientCertificate)",
            "the client does not trust our certificate in \(Variable.certificate): its \(Variable.authority) must name the issuer"
        ),
        (
            "ALERT_BAD_CERTIFICATE",
            "the server refuses our client certificate in \(Variable.clientCertificate)",
            "the client refuses our certificate in \(Variable.certificate)"
        ),
        (
            "failedToValidateHostname",
            "the server's certificate is not for the address or name that was connected to; \(Variable.serverName) names another",
            "the client's name does not fit its certificate"
        ),
        (
            "WRONG_VERSION_NUMBER", "the server does not speak TLS: its \(Variable.certificate) is not set",
            "the client does not speak TLS: its \(Variable.authority) is not set"
        ),
        (
            "eofDuringHandshake", HandshakeGate.closedEarly, HandshakeGate.closedEarly
        ),
        (
            "EOF during handshake", HandshakeGate.closedEarly, HandshakeGate.closedEarly
        ),
    ]
}
