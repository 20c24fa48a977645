import Discovery
import DynamoRuntime
import Glibc
import HTTPTypes
import HummingbirdCore
import KVRouter
import KVRouting
import Logging
import NIOCore
import RequestPlane

/// Answers chat and completion requests: checks them, sends them to a worker, passes its answer on.
///
/// The worker's stream is pulled as fast as the client reads. The task ends with the client, which cancels the generation.
struct GenerationHandler: Sendable {
    /// Bytes of events that are written at once although there are more.
    private static let mostAtOnce = 16 * 1024

    /// Who can answer.
    private enum Workers: Sendable {
        case text(Takers)
        case tokens(Takers, TokenService)
    }

    let models: ModelStore
    let tokens: TokenServices
    let dispatcher: Dispatcher
    let metrics: FrontendMetrics
    let activity: Activity
    /// In bytes.
    let bodyLimit: Int
    let logger: Logger

    @concurrent
    func respond(to request: Request, kind: TextRequestKind, _ writer: consuming ResponseWriter) async throws {
        let started = ContinuousClock.now
        guard self.activity.begin() else { return try await writer.write(.draining, headers: [.connection: "close"]) }
        defer { self.activity.end() }

        let received = Self.now
        let parsed: TextRequest
        let workers: Workers
        var tokenRequest: TokenRequest?
        do throws(OpenAIError) {
            if request.headers[.expect]?.lowercased() == "100-continue" { try await self.continue(writer) }
            parsed = try await self.read(request, kind)
            workers = try self.workers(for: parsed)
            if case .tokens(_, let service) = workers { tokenRequest = try TokenRequest(parsed, service.model) }
        } catch {
            self.metrics.count(.failed(error.kind), kind: kind)
            // A body that was not read to its end makes the connection useless.
            let headers: HTTPFields = error.status == .contentTooLarge ? [.connection: "close"] : [:]
            return try await writer.write(error, headers: headers)
        }

        var measurement = self.metrics.begin(parsed, started: started)
        do {
            let times = TokenAnswer.Times(received: received, start: started)
            try await self.generate(parsed, tokenRequest, request, workers, times, &measurement, writer)
        } catch {
            // Only writing to a client that is gone, or being cancelled because it is gone, ends here.
            self.logger.debug("client went away", metadata: ["model": "\(parsed.model)", "error": "\(error)"])
            measurement.end(.cancelled)
            throw error
        }
    }

    // MARK: Before the worker

    @concurrent
    private func `continue`(_ writer: borrowing ResponseWriter) async throws(OpenAIError) {
        do { try await writer.writeInformationalHead(HTTPResponse(status: .continue)) } catch {
            throw .invalid("the connection broke: \(error)")
        }
    }

    private func read(_ request: Request, _ kind: TextRequestKind) async throws(OpenAIError) -> TextRequest {
        let type = request.headers[.contentType]?.split(separator: ";").first.map {
            $0.filter { $0 != " " }.lowercased()
        }
        guard let type, type == "application/json" || type.hasSuffix("+json") else {
            throw OpenAIError(
                status: .unsupportedMediaType,
                kind: .invalidRequest,
                message: "Expected request with `Content-Type: application/json`",
                code: "unsupported_media_type"
            )
        }
        let body: ByteBuffer
        do {
            body = try await request.body.collect(upTo: self.bodyLimit)
        } catch is NIOTooManyBytesError {
            throw OpenAIError(
                status: .contentTooLarge,
                kind: .invalidRequest,
                message: "The request body is larger than \(self.bodyLimit) bytes (DYN_HTTP_BODY_LIMIT_MB)",
                code: "request_too_large"
            )
        } catch {
            throw .invalid("The request body could not be read: \(error)")
        }
        var parsed = try TextRequest(parsing: body, kind: kind, readsPrompt: self.dispatcher.configuration.mode == .kv)
        // As on 1.2 and on 1.6: what a gateway says in a header wins over what the client says.
        for name in ["x-worker-instance-id", "x-dynamo-worker-instance-id"] {
            guard let field = HTTPField.Name(name), let text = request.headers[field] else { continue }
            guard let worker = UInt64(text) else {
                throw .invalid("The header `\(name)` must be the number of a worker, not `\(text)`", param: name)
            }
            parsed.named = SelectionRequest.NamedWorker(worker: worker)
        }
        return parsed
    }

    /// Milliseconds since the epoch.
    private static var now: Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }

    private func workers(for request: TextRequest) throws(OpenAIError) -> Workers {
        switch self.models.lookup(request.model, request.kind) {
        case .instances(let instances):
            return .text(
                Takers(instances: instances) { [models, model = request.model, kind = request.kind] in
                    if case .instances(let instances) = models.lookup(model, kind) { instances } else { [] }
                }
            )
        case .tokens(let instances):
            guard let service = self.tokens.service(of: request.model) else { throw .unprepared(request.model) }
            let takers = Takers(instances: instances) { [models, model = request.model, kind = request.kind] in
                if case .tokens(let instances) = models.lookup(model, kind) { instances } else { [] }
            }
            return .tokens(takers, service)
        case .unprepared: throw .unprepared(request.model)
        case .unknown: throw .unknownModel(request.model)
        case .noInstance: throw .noInstance(request.model)
        case .wrongKind(let kinds):
            throw OpenAIError(
                status: .notFound,
                kind: .notFound,
                message:
                    "The model `\(request.model)` does not serve \(request.kind.rawValue); it serves \(kinds.text)",
                param: "model",
                code: "model_not_found"
            )
        case .wrongInput:
            throw .invalid(
                "The workers of `\(request.model)` take neither text nor token ids; this frontend serves those two kinds. "
                    + "Use Dynamo's own frontend for this model.",
                param: "model",
                code: "model_not_supported"
            )
        }
    }

    private func prefillTakers(of model: String) -> Takers {
        Takers(instances: self.models.prefillInstances(of: model)) { [models] in models.prefillInstances(of: model) }
    }

    /// Tokens of a block: as set, as the card says, or as Dynamo's engines have it.
    private func blockSize(of model: String) -> Int {
        max(1, self.dispatcher.configuration.blockSize ?? self.models.blockSize(of: model) ?? 16)
    }

    private static func outgoing(_ payload: ByteBuffer, _ request: Request) -> OutgoingRequest {
        var headers: [String: String] = [:]
        for name in ["x-request-id", "traceparent", "tracestate"] {
            if let field = HTTPField.Name(name), let value = request.headers[field] { headers[name] = value }
        }
        return OutgoingRequest(id: RequestID.make(), headers: headers, payload: payload)
    }

    /// Sends a request to a worker that takes text.
    private func sendText(
        _ outgoing: OutgoingRequest,
        _ parsed: TextRequest,
        _ takers: Takers
    ) async throws -> AnswerItems {
        AnswerItems(
            try await self.dispatcher.send(
                outgoing,
                naming: parsed.named,
                prompt: parsed.prompt.map { ($0, self.blockSize(of: parsed.model)) },
                to: takers
            )
        )
    }

    // MARK: With the worker

    /// Errors of the worker are answered; what is thrown concerns the client's connection.
    @concurrent
    private func generate(
        _ parsed: TextRequest,
        _ tokenRequest: TokenRequest?,
        _ request: Request,
        _ workers: Workers,
        _ times: TokenAnswer.Times,
        _ measurement: inout FrontendMetrics.Measurement,
        _ writer: consuming ResponseWriter
    ) async throws {
        let first: ResponseItem?
        var items: AnswerItems
        let outgoing = Self.outgoing(tokenRequest == nil ? parsed.payload : ByteBuffer(), request)
        defer { self.dispatcher.ended(outgoing.id) }
        do {
            switch (workers, tokenRequest) {
            case (.tokens(let takers, let service), let tokenRequest?):
                let sender = TokenSender(
                    dispatcher: self.dispatcher,
                    logger: self.logger,
                    parsed: parsed,
                    request: tokenRequest,
                    service: service,
                    outgoing: outgoing,
                    takers: takers,
                    prefillTakers: self.prefillTakers(of: parsed.model)
                )
                items = try await sender.send(times)
            case (.text(let takers), _), (.tokens(let takers, _), nil):
                items = try await self.sendText(outgoing, parsed, takers)
            }
            first = try await items.next()
            if case .failure(let error)? = first { throw error }
        } catch {
            try Task.checkCancellation()
            let error = self.report(error, parsed)
            measurement.end(.failed(error.kind))
            return try await writer.write(error)
        }
        measurement.firstResponse()
        self.dispatcher.answered(outgoing.id)
        if parsed.streams {
            try await self.stream(parsed, first, &items, measurement, writer)
        } else {
            try await self.fold(parsed, first, &items, measurement, writer)
        }
    }

    @concurrent
    private func stream(
        _ parsed: TextRequest,
        _ first: ResponseItem?,
        _ items: inout AnswerItems,
        _ measurement: FrontendMetrics.Measurement,
        _ writer: consuming ResponseWriter
    ) async throws {
        let head = HTTPResponse(
            status: .ok,
            headerFields: [.contentType: "text/event-stream", .cacheControl: "no-cache"]
        )
        var body = try await writer.writeHead(head)
        var outcome = FrontendMetrics.Outcome.success
        var last: ByteBuffer?
        var item = first
        while let current = item {
            // What has come in one piece goes on in one piece: a write for each token costs more than all else here.
            var events = ByteBuffer()
            var next: ResponseItem? = current
            while let current = next {
                switch current {
                case .data(let payload):
                    guard !payload.isNull else { break }
                    last = payload
                    ServerSentEvents.append(payload, to: &events)
                // No worker of a model answers so.
                case .bare: break
                case .annotation(let event, let comments):
                    events.writeImmutableBuffer(ServerSentEvents.annotation(event, comments: comments))
                case .failure(let error):
                    let error = self.report(error, parsed)
                    outcome = .failed(error.kind)
                    ServerSentEvents.append(error.json.buffer, to: &events)
                }
                next = outcome == .success && events.readableBytes < Self.mostAtOnce ? items.nextQueued() : nil
            }
            if events.readableBytes > 0 { try await body.write(events) }
            if outcome != .success { break }
            do { item = try await items.next() } catch {
                try Task.checkCancellation()
                let error = self.report(error, parsed)
                outcome = .failed(error.kind)
                try await body.write(ServerSentEvents.data(error.json.buffer))
                break
            }
        }
        try await body.write(ServerSentEvents.done)
        try await body.finish(nil)
        // The numbers stand in the last chunk, if anywhere.
        if let last {
            var fold = ResponseFold(kind: parsed.kind)
            if (try? fold.add(last)) != nil, let counts = fold.tokenCounts {
                measurement.tokens(prompt: counts.prompt, completion: counts.completion)
            }
        }
        measurement.end(outcome)
    }

    @concurrent
    private func fold(
        _ parsed: TextRequest,
        _ first: ResponseItem?,
        _ items: inout AnswerItems,
        _ measurement: FrontendMetrics.Measurement,
        _ writer: consuming ResponseWriter
    ) async throws {
        var fold = ResponseFold(kind: parsed.kind)
        do {
            var item = first
            while let current = item {
                switch current {
                case .data(let payload): if !payload.isNull { try fold.add(payload) }
                case .annotation, .bare: break
                case .failure(let error): throw error
                }
                item = try await items.next()
            }
            guard !fold.isEmpty else {
                throw RequestPlaneError(.streamEndedEarly, "the worker answered nothing")
            }
        } catch {
            try Task.checkCancellation()
            let error = self.report(error, parsed)
            measurement.end(.failed(error.kind))
            return try await writer.write(error)
        }
        if let counts = fold.tokenCounts { measurement.tokens(prompt: counts.prompt, completion: counts.completion) }
        try await writer.write(Answer(.ok, fold.response))
        measurement.end(.success)
    }

    private func report(_ error: any Error, _ request: TextRequest) -> OpenAIError {
        let answer =
            switch error {
            case let error as OpenAIError: error
            case let error as RemoteError: OpenAIError(error)
            case let error as RequestPlaneError: OpenAIError(error)
            case let error as JSONError:
                OpenAIError(
                    status: .badGateway,
                    kind: .server,
                    message: "The worker sent a chunk that is not JSON: \(error)",
                    code: "worker_error"
                )
            default:
                OpenAIError(status: .internalServerError, kind: .server, message: "\(error)", code: "internal_error")
            }
        self.logger.warning(
            "request failed",
            metadata: ["model": "\(request.model)", "status": "\(answer.status.code)", "error": "\(error)"]
        )
        return answer
    }
}

extension ByteBuffer {
    /// Whether this is JSON's null: a worker that yields nothing sends it.
    fileprivate var isNull: Bool { self.readableBytes == 4 && self.readableBytesView.elementsEqual("null".utf8) }
}
