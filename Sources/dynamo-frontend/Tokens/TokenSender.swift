import Discovery
import KVRouter
import KVRouting
import Logging
import RequestPlane

/// Sends one request to workers that take tokens: to one that does everything, or to one that processes the prompt and then to
/// one that decodes.
struct TokenSender: Sendable {
    let dispatcher: Dispatcher
    let logger: Logger
    let parsed: TextRequest
    let request: TokenRequest
    let service: TokenService
    /// With an id and the client's headers; its payload does not count.
    let outgoing: OutgoingRequest
    /// Who decodes, or does everything.
    let takers: Takers
    /// Who processes prompts for the others.
    let prefillTakers: Takers

    /// What came of processing the prompt elsewhere.
    private struct Prefilled {
        var parameters: JSONValue
        var call: RoutedCall?
        var sent: ContinuousClock.Instant
        var ended: ContinuousClock.Instant
    }

    /// Sends the request.
    ///
    /// - Parameter times: with the start of the request.
    /// - Returns: the chunks for the client.
    /// - Throws: an `OpenAIError`, a `RemoteError` or a `RequestPlaneError` when no worker takes it.
    func send(_ times: TokenAnswer.Times) async throws -> AnswerItems {
        let prefilled = self.prefillTakers.instances.isEmpty ? nil : try await self.prefill()
        let part: TokenRequest.Part = prefilled.map { .decode($0.parameters) } ?? .all
        var answer = TokenAnswer(
            self.parsed,
            self.request,
            id: self.outgoing.id,
            model: self.service.model,
            times: times
        )
        let annotations = self.parsed.streams ? self.request.annotationItems(id: self.outgoing.id) : []
        let stream: ResponseStream
        var ticket: RoutedTicket?
        if let router = self.service.router {
            let call = try await router.send(
                self.outgoing.id,
                self.request.tokens,
                naming: self.parsed.named,
                headers: self.outgoing.headers,
                payload: { self.request.payload(for: $0, part) }
            )
            (stream, ticket) = (call.stream, call.ticket)
            let first = prefilled?.call ?? call
            answer.route = TokenAnswer.Route(
                prefill: first.choice.worker,
                decode: call.choice.worker,
                hitRate: first.blocks == 0 ? 0 : Double(first.choice.overlap.blocks) / Double(first.blocks),
                waiting: first.waiting
            )
        } else {
            stream = try await self.dispatcher.send(self.outgoing(part), naming: self.parsed.named, to: self.takers)
        }
        answer.times.sent = prefilled?.sent ?? .now
        answer.times.prefilled = prefilled?.ended
        return AnswerItems(TokenItems(stream, answer, ticket: ticket, annotations: annotations))
    }

    private func outgoing(_ part: TokenRequest.Part) -> OutgoingRequest {
        OutgoingRequest(
            id: self.outgoing.id,
            headers: self.outgoing.headers,
            payload: self.request.payload(for: nil, part)
        )
    }

    // MARK: Prompt

    /// Has the prompt processed.
    ///
    /// - Returns: nil when that has failed: then the worker that decodes does everything, as behind Dynamo's frontend.
    /// - Throws: `CancellationError`, and what concerns the request and not the worker.
    private func prefill() async throws -> Prefilled? {
        let sent = ContinuousClock.now
        do {
            guard let router = self.service.prefillRouter else {
                // The same id counts again for the worker that decodes.
                defer { self.dispatcher.ended(self.outgoing.id) }
                let stream = try await self.dispatcher.send(self.outgoing(.prefill), to: self.prefillTakers)
                let parameters = try await self.parameters(stream) { _ in }
                return Prefilled(parameters: parameters, sent: sent, ended: .now)
            }
            let call = try await router.send(
                self.outgoing.id,
                self.request.tokens,
                naming: self.request.prefillWorker,
                headers: self.outgoing.headers,
                payload: { self.request.payload(for: $0, .prefill) }
            )
            defer { call.ticket.end() }
            let parameters = try await self.parameters(call.stream) { call.ticket.produced($0) }
            return Prefilled(parameters: parameters, call: call, sent: sent, ended: .now)
        } catch {
            try Task.checkCancellation()
            if let error = error as? OpenAIError { throw error }
            self.logger.warning(
                "a prompt was not processed elsewhere, so the worker that decodes does it",
                metadata: ["request": "\(self.outgoing.id)", "error": "\(error)"]
            )
            return nil
        }
    }

    /// Reads what a worker says of where the prompt's blocks are, up to the end of its answer.
    private func parameters(_ stream: ResponseStream, _ produced: (Int) -> Void) async throws -> JSONValue {
        var parameters: JSONValue?
        for try await item in stream {
            switch item {
            case .failure(let error): throw error
            case .data(let payload):
                let value: JSONValue
                do { value = try JSONValue(parsing: payload) } catch {
                    throw RemoteError(kind: .unknown, message: "the worker sent an item that is not JSON: \(error)")
                }
                produced(value["token_ids"]?.array?.count ?? 0)
                if let message = value["finish_reason"]?["error"]?.string {
                    throw RemoteError(kind: .unknown, message: message)
                }
                if let found = value["disaggregated_params"], !found.isNull { parameters = found }
            case .bare, .annotation: break
            }
        }
        guard let parameters else {
            throw RemoteError(kind: .unknown, message: "the worker did not say where the prompt's blocks are")
        }
        return parameters
    }
}
