import NATS
import NIOCore
import RequestPlane

/// Sends requests to NATS instances.
final class NATSCaller: TransportCaller {
    private let settings: NATSSettings
    private let link: NATSLink
    private let core: CallingCore

    init(settings: NATSSettings, link: NATSLink, core: CallingCore) {
        self.settings = settings
        self.link = link
        self.core = core
    }

    func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
        let subject = instance.transport.value
        let connection = try await self.link.connection()
        return try await self.core.send(request, to: instance, timeout: self.settings.requestTimeout) {
            headers,
            control throws(RequestPlaneError) in
            try Self.encode(headers, control, request.payload, limit: connection.maximumPayload)
        } submit: { (call: PlaneCall<Message>) throws(RequestPlaneError) in
            connection.startRequest(
                subject,
                headers: call.request.headers,
                payload: call.request.payload,
                timeout: self.settings.requestTimeout
            ) { result in
                switch result {
                case .success: call.acknowledged()
                case .failure(let error):
                    let error = RequestPlaneError(nats: error)
                    call.fail(PlaneFailure(error.code, error.message))
                }
            }
        }
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
        var headers = NATSHeaders()
        for (name, value) in fields { headers.add(name, value) }
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
