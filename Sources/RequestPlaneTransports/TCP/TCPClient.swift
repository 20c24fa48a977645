import Logging
import NIOCore
import NIOPosix
import RequestPlane
import Synchronization

/// Sends requests to TCP instances; the answers come over the call-home port.
final class TCPClient: Sendable {
    private let configuration: TCPConfiguration
    private let logger: Logger
    private let group: any EventLoopGroup
    private let callHome: CallHomeListener
    private let gate = DrainGate()
    private let pools = Mutex(Pools())
    private let drained: AsyncStream<Void>
    private let drainedSource: AsyncStream<Void>.Continuation

    private struct Pools {
        var byTarget: [HostPort: TCPHostPool] = [:]
        var isClosed = false
    }

    init(
        configuration: TCPConfiguration,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        self.configuration = configuration
        self.group = group
        self.logger = logger
        self.callHome = CallHomeListener(configuration: configuration, group: group, logger: logger)
        (self.drained, self.drainedSource) = AsyncStream.makeStream()
    }

    /// Answers that are being read now.
    var inFlight: Int { self.gate.count }

    /// Sends a request and waits until the worker has accepted it.
    ///
    /// - Parameters:
    ///   - request: what to send.
    ///   - instance: for messages.
    ///   - text: the instance's address.
    /// - Returns: the answer.
    /// - Throws: `RequestPlaneError` when the request was refused, not delivered, not answered in time, or cancelled.
    func send(
        _ request: OutgoingRequest,
        to instance: Instance,
        at text: String
    ) async throws(RequestPlaneError) -> ResponseStream {
        let address = try TCPInstanceAddress(text)
        guard self.gate.enter() == .admitted else {
            throw RequestPlaneError(.unavailable, "cannot call \(instance.endpoint): this process is shutting down")
        }
        let buffer = ResponseBuffer(onEnd: { self.gate.leave() })
        do throws(RequestPlaneError) {
            let callHomeAddress = try await self.callHome.start()
            let subject = RandomID.make()
            let encoded = try self.encode(request, path: address.path, callHome: callHomeAddress, subject: subject)
            let call = TCPCall(
                request: encoded,
                address: text,
                subject: subject,
                deadline: .now() + TimeAmount(self.configuration.requestTimeout),
                buffer: buffer,
                pending: self.callHome.pending
            )
            guard let pool = self.pool(address.target) else {
                throw RequestPlaneError(.unavailable, "this process is shutting down")
            }
            pool.submit(call)
            try await buffer.waitUntilAccepted()
            return ResponseStream(buffer)
        } catch {
            buffer.cancel()
            throw RequestPlaneError(
                error.code,
                "\(instance.endpoint) at \(text), request \(request.id): \(error.message)",
                cause: error.cause
            )
        }
    }

    /// Fails requests whose instance has left discovery before it has called home.
    func instanceHasLeft(_ instance: Instance) {
        self.callHome.pending.fail(
            PlaneFailure(.unavailable, "the instance left discovery before it answered"),
            from: instance.transport.value
        )
    }

    /// Waits for the end; owns no task, since connections are driven by their event loops.
    func run() async { for await _ in self.drained {} }

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

    /// Closes everything; what still waits or is read fails.
    func close() async {
        self.gate.close()
        let pools = self.pools.withLock { pools in
            pools.isClosed = true
            return Array(pools.byTarget.values)
        }
        for pool in pools { pool.close() }
        await self.callHome.close()
    }

    private func encode(
        _ request: OutgoingRequest,
        path: String,
        callHome: String,
        subject: String
    ) throws(RequestPlaneError) -> EncodedTCPRequest {
        var headers = request.headers
        headers["x-endpoint-path"] = path
        headers["request-id"] = request.id
        headers["x-frontend-send-ts-ns"] = WallClock.nanoseconds()
        let info = CallHomeAddress(address: callHome, subject: subject, context: request.id)
        let control = ControlHeader(id: request.id, info: info.encode(), payloadCodec: "json")
        let encoded: EncodedTCPRequest
        do {
            encoded = try EncodedTCPRequest(path: path, headers: headers, control: control, body: request.payload)
        } catch {
            throw RequestPlaneError(.tooLarge, "the request cannot be encoded: \(error)")
        }
        guard encoded.size <= self.configuration.maximumMessageSize else {
            throw RequestPlaneError(
                .tooLarge,
                "the request takes \(encoded.size) bytes, more than the \(self.configuration.maximumMessageSize) of "
                    + "DYN_TCP_MAX_MESSAGE_SIZE"
            )
        }
        return encoded
    }

    private func pool(_ target: HostPort) -> TCPHostPool? {
        self.pools.withLock { pools in
            if pools.isClosed { return nil }
            if let pool = pools.byTarget[target] { return pool }
            let pool = TCPHostPool(
                target: target,
                configuration: self.configuration,
                eventLoop: self.group.next(),
                logger: self.logger
            )
            pools.byTarget[target] = pool
            return pool
        }
    }
}
