import Logging
import NIOCore
import RequestPlane

/// What the callers of all planes share: the call-home port, the requests that wait for their worker, and the drain.
final class CallingCore: Sendable {
    let callHome: CallHomeListener

    private let logger: Logger
    private let gate = DrainGate()
    private let drained: AsyncStream<Void>
    private let drainedSource: AsyncStream<Void>.Continuation

    init(
        configuration: ResponseStreamConfiguration,
        security: ConnectionSecurity,
        group: any EventLoopGroup,
        logger: Logger
    ) {
        self.logger = logger
        self.callHome = CallHomeListener(
            configuration: configuration,
            security: security,
            group: group,
            logger: logger
        )
        (self.drained, self.drainedSource) = AsyncStream.makeStream()
    }

    /// Answers that are being read now.
    var inFlight: Int { self.gate.count }

    /// Sends a request over some plane and waits until the worker has accepted it.
    ///
    /// - Parameters:
    ///   - request: what to send.
    ///   - instance: where to.
    ///   - timeout: how long the acknowledgement may take.
    ///   - encode: makes what the plane carries, from the plane-level headers and the control header.
    ///   - submit: hands it to the plane, which then tells the call what became of it.
    /// - Returns: the answer.
    /// - Throws: `RequestPlaneError` when the request was refused, not delivered, not answered in time, or cancelled.
    func send<Request: Sendable>(
        _ request: OutgoingRequest,
        to instance: Instance,
        timeout: Duration,
        encode: ([String: String], ControlHeader) throws(RequestPlaneError) -> Request,
        submit: (PlaneCall<Request>) throws(RequestPlaneError) -> Void
    ) async throws(RequestPlaneError) -> ResponseStream {
        guard self.gate.enter() == .admitted else {
            throw RequestPlaneError(.unavailable, "cannot call \(instance.endpoint): this process is shutting down")
        }
        let buffer = ResponseBuffer(onEnd: { self.gate.leave() })
        do throws(RequestPlaneError) {
            let address = try await self.callHome.start()
            let subject = RandomID.make()
            let info = CallHomeAddress(address: address, subject: subject, context: request.id)
            let control = ControlHeader(id: request.id, info: info.encode(), payloadCodec: "json")
            var headers = request.headers
            headers["request-id"] = request.id
            headers["x-frontend-send-ts-ns"] = WallClock.nanoseconds()
            let call = PlaneCall(
                request: try encode(headers, control),
                address: instance.transport.value,
                subject: subject,
                deadline: .now() + TimeAmount(timeout),
                buffer: buffer,
                pending: self.callHome.pending
            )
            try submit(call)
            try await buffer.waitUntilAccepted()
            return ResponseStream(buffer)
        } catch {
            buffer.cancel()
            throw RequestPlaneError(
                error.code,
                "\(instance.endpoint) at \(instance.transport.value), request \(request.id): \(error.message)",
                cause: error.cause
            )
        }
    }

    /// Fails requests that an instance which has left discovery has not accepted when the grace is over.
    func instanceHasLeft(_ instance: Instance) { self.callHome.pending.instanceHasLeft(instance.transport.value) }

    /// Forgets that an instance had left.
    func instanceIsBack(_ instance: Instance) { self.callHome.pending.instanceIsBack(instance.transport.value) }

    // MARK: Lifecycle

    /// Waits for the end; owns no task, since response streams are driven by their event loops.
    func run() async { for await _ in self.drained {} }

    /// Refuses new requests and waits until the answers that are being read have ended.
    func drain(deadline: Duration) async {
        self.gate.close()
        if await !self.gate.waitUntilEmpty(atMost: deadline) {
            self.logger.warning(
                "dropping answers that are still being read at the drain deadline",
                metadata: ["count": "\(self.inFlight)"]
            )
        }
        self.drainedSource.finish()
    }

    /// Takes no more requests.
    func stop() { self.gate.close() }

    /// Closes the call-home port and every response stream; what still waits or is read fails.
    func close() async {
        self.gate.close()
        await self.callHome.close()
    }
}
