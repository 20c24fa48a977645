import Logging
import NIOCore
import RequestPlane

/// Answers one request of any plane: reads its control header, calls home, runs the handler and writes what it yields.
struct RequestAnswer: Sendable {
    let headers: RequestHeaders
    /// A two-part message.
    let payload: ByteBuffer
    let purpose: Purpose
    let connector: CallHomeConnector
    let execution: HandlerExecution
    let logger: Logger

    enum Purpose: Sendable {
        case serve(ServedEndpoint)
        /// The request was refused; its caller is called home and told, unless it is new enough to have seen the acknowledgement.
        case refuse(Refusal, onlyOldCallers: Bool)
    }

    struct Refusal: Sendable {
        var kind: RemoteError.Kind
        var text: String

        init(_ kind: RemoteError.Kind, _ text: String) {
            self.kind = kind
            self.text = text
        }

        /// The words of 1.6.1, whose callers know the prefixes; see `request-plane.md` 2.4.
        init(_ admission: ServingCore.Admission, path: String) {
            switch admission {
            case .overloaded:
                self.init(.resourceExhausted, "\(TCPAcknowledgement.overloadedPrefix) worker at capacity")
            case .shuttingDown, .dropped:
                self.init(.unavailable, "\(TCPAcknowledgement.unavailablePrefix) shutting down")
            case .unknownEndpoint, .accepted:
                self.init(.unknown, "\(TCPAcknowledgement.unavailablePrefix) unknown endpoint \(path)")
            }
        }
    }

    func run() async {
        let request: Request
        do { request = try Request(self.payload) } catch {
            self.logger.warning("dropped an unreadable request", metadata: ["reason": "\(error)"])
            if case .serve(let endpoint) = self.purpose {
                endpoint.meter.begin(requestBytes: self.payload.readableBytes)
                endpoint.meter.end(.unreadable, after: .zero)
            }
            return
        }
        switch self.purpose {
        case .refuse(let refusal, let onlyOldCallers):
            // A caller that states a codec is new enough to have understood the acknowledgement.
            if onlyOldCallers, request.control.payloadCodec != nil { return }
            await self.refuse(request, refusal)
        case .serve(let endpoint):
            endpoint.meter.begin(requestBytes: request.body.readableBytes)
            let start = ContinuousClock.now
            let outcome = await self.serve(request, endpoint)
            endpoint.meter.end(outcome, after: ContinuousClock.now - start)
        }
    }

    private func refuse(_ request: Request, _ refusal: Refusal) async {
        guard let callHome = await self.callHome(request) else { return }
        await callHome.refuse(RemoteError(kind: refusal.kind, message: refusal.text))
    }

    private func serve(_ request: Request, _ endpoint: ServedEndpoint) async -> EndpointMeter.Outcome {
        if let defect = request.defect {
            await self.refuse(request, Refusal(.invalidArgument, defect))
            return .unreadable
        }
        guard let callHome = await self.callHome(request) else { return .unreachable }
        let incoming = IncomingRequest(
            id: request.control.id,
            endpoint: endpoint.id,
            headers: self.headers.decoded,
            payload: request.body
        )
        let outcome = await withTaskGroup(of: EndpointMeter.Outcome.self) { group in
            let executor: EventLoopExecutor? =
                switch self.execution {
                case .concurrent: nil
                case .onEventLoop: EventLoopExecutor(callHome.eventLoop)
                }
            group.addTask(executorPreference: executor) { await self.produce(incoming, endpoint, callHome) }
            await callHome.waitUntilOver()
            group.cancelAll()
            return await group.next() ?? .failure
        }
        guard let cancellation = callHome.cancellation else { return outcome }
        if case .violation(let reason) = cancellation {
            self.logger.warning(
                "the caller broke the protocol",
                metadata: ["request": "\(incoming.id)", "reason": "\(reason)"]
            )
        }
        return outcome.orCancelled
    }

    /// Runs the handler; ends the call-home connection in every case.
    private func produce(
        _ request: IncomingRequest,
        _ endpoint: ServedEndpoint,
        _ callHome: CallHome
    ) async -> EndpointMeter.Outcome {
        await withTaskCancellationHandler {
            let items: any AsyncSequence<ResponseItem, any Error> & Sendable
            do { items = try await endpoint.handler(request) } catch {
                if Task.isCancelled { return .cancelled }
                await callHome.refuse(Self.remoteError(error))
                return .failure
            }
            callHome.accept()
            let outcome = await self.pull(items, endpoint.meter, callHome)
            if Task.isCancelled {
                callHome.abort()
                return outcome.orCancelled
            }
            await callHome.finish()
            return outcome
        } onCancel: {
            callHome.abort()
        }
    }

    private func pull(
        _ items: some AsyncSequence<ResponseItem, any Error> & Sendable,
        _ meter: EndpointMeter,
        _ callHome: CallHome
    ) async -> EndpointMeter.Outcome {
        var outcome = EndpointMeter.Outcome.success
        do {
            for try await item in items {
                guard await callHome.write(item) else { return .cancelled }
                meter.sent(item)
                if case .failure = item { outcome = .failure }
                if Task.isCancelled { break }
            }
        } catch {
            if Task.isCancelled { return .cancelled }
            _ = await callHome.write(.failure(Self.remoteError(error)))
            outcome = .failure
        }
        return outcome
    }

    private func callHome(_ request: Request) async -> CallHome? {
        guard let address = request.address else {
            self.logger.warning(
                "cannot answer a request: its response transport is unknown",
                metadata: ["request": "\(request.control.id)", "transport": "\(request.control.transport)"]
            )
            return nil
        }
        do {
            return try await self.connector.connect(to: address)
        } catch {
            self.logger.warning(
                "cannot answer a request",
                metadata: ["request": "\(request.control.id)", "reason": "\(error)"]
            )
            return nil
        }
    }

    private static func remoteError(_ error: any Error) -> RemoteError {
        switch error {
        case let error as RemoteError: error
        case let error as RequestPlaneError: RemoteError(kind: Self.kind(error.code), message: error.description)
        default: RemoteError(kind: .unknown, message: "\(error)")
        }
    }

    private static func kind(_ code: RequestPlaneError.Code) -> RemoteError.Kind {
        switch code {
        case .connectFailed, .noInstance, .unknownEndpoint: .cannotConnect
        case .timedOut: .connectionTimeout
        case .tooLarge, .invalidConfiguration: .invalidArgument
        case .overloaded: .resourceExhausted
        case .unavailable: .unavailable
        case .cancelled: .cancelled
        case .streamEndedEarly: .disconnected
        case .remote, .protocolViolation: .unknown
        }
    }
}

// MARK: - Reading

extension RequestAnswer {
    /// A request whose control header could be read.
    private struct Request {
        var control: ControlHeader
        /// Nil when the answer would have to travel in a way that this library does not know.
        var address: CallHomeAddress?
        var body: ByteBuffer
        /// Why the request cannot be served although its caller can be told.
        var defect: String?

        init(_ payload: ByteBuffer) throws(WireError) {
            let message = try TwoPartMessage(payload: payload)
            guard message.header.readableBytes > 0 else { throw .malformed("request without a control header") }
            self.control = try ControlHeader(message.header)
            self.body = message.body
            if self.control.transport == ControlHeader.tcpServer {
                let address = try CallHomeAddress(info: self.control.info)
                self.address = address
                if address.context != self.control.id {
                    self.defect = "the connection info's 'context' is not the request's id"
                }
            }
            if let codec = self.control.payloadCodec, codec != "json" {
                self.defect = "this server reads JSON; the request's 'payload_codec' is '\(codec)'"
            }
            if self.body.readableBytes == 0 { self.defect = "the request has no body" }
        }
    }
}
