import NATS
import NIOCore
import RequestPlane

/// Sends requests to NATS instances.
final class NATSCaller: TransportCaller {
    private let settings: NATSSettings
    private let link: NATSLink
    private let core: CallingCore
    private let eventLoop: any EventLoop

    /// How long after a loss of NATS an instance without a subscription may still come back.
    private static let returnTime = Duration.seconds(2)
    private static let retryDelay = TimeAmount.milliseconds(50)

    init(settings: NATSSettings, link: NATSLink, core: CallingCore, eventLoop: any EventLoop) {
        self.settings = settings
        self.link = link
        self.core = core
        self.eventLoop = eventLoop
    }

    func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
        let subject = instance.transport.value
        let connection = try await self.link.connection()
        return try await self.core.send(request, to: instance, timeout: self.settings.requestTimeout) {
            headers,
            control throws(RequestPlaneError) in
            try Self.encode(headers, control, request.payload, limit: connection.maximumPayload)
        } submit: { (call: PlaneCall<Message>) throws(RequestPlaneError) in
            self.submit(call, subject, connection, timeout: self.settings.requestTimeout)
        }
    }

    private func submit(
        _ call: PlaneCall<Message>,
        _ subject: String,
        _ connection: NATSConnection,
        timeout: Duration
    ) {
        connection.startRequest(
            subject,
            headers: call.request.headers,
            payload: call.request.payload,
            timeout: timeout
        ) { result in
            switch result {
            case .success: call.acknowledged()
            case .failure(let error):
                // Tried again only as long as another answer can come in time: this one says more than that the time is over.
                let hasTime = call.deadline - .now() > Self.retryDelay * 4
                if error.code == .noResponders, hasTime, Self.mayComeBack(connection), !call.isCancelled {
                    // Nobody has taken the request, so it cannot be answered twice.
                    self.eventLoop.scheduleTask(in: Self.retryDelay) {
                        let remaining = max(0, (call.deadline - .now()).nanoseconds)
                        self.submit(call, subject, connection, timeout: .nanoseconds(remaining))
                    }
                    return
                }
                let error = RequestPlaneError(nats: error)
                call.fail(PlaneFailure(error.code, error.message))
            }
        }
    }

    /// Whether this connection was made again only just, so that the instance's may still be on its way.
    private static func mayComeBack(_ connection: NATSConnection) -> Bool {
        connection.statistics.lastReconnect.map { .now - $0 < self.returnTime } ?? false
    }

    /// The connection has threads of its own.
    func run() async throws {}

    func close() async { await self.link.close() }

    private struct Message: Sendable {
        var headers: NATSHeaders
        var payload: ByteBuffer
    }

    private static func encode(
        _ fields: [String: String],
        _ control: ControlHeader,
        _ body: ByteBuffer,
        limit: Int
    ) throws(RequestPlaneError) -> Message {
        let headers = NATSHeaders(request: fields)
        let message = TwoPartMessage(header: control.encode(), body: body)
        let size = headers.encodedSize + message.encodedSize
        guard size <= limit else {
            throw RequestPlaneError(
                .tooLarge,
                "the request takes \(size) bytes, more than the \(limit) that the NATS server allows; raise its max_payload, or use "
                    + "the TCP plane (DYN_REQUEST_PLANE=tcp) for large requests"
            )
        }
        var payload = ByteBuffer()
        payload.writeTwoPartMessage(message)
        return Message(headers: headers, payload: payload)
    }
}
