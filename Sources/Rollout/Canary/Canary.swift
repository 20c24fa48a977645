package import Deployment
internal import NIOCore
internal import Supervisor

/// Probe requests to the frontends of a new generation, at their own ports, before clients reach them.
///
/// Each frontend is asked for one token, for a long stream, and for a stream that is given up after its first piece, after which it must
/// still answer; and then what the manifest says under `migration.canary`.
package struct Canary: Sendable {
    /// Who is asked.
    package struct Frontend: Sendable, Hashable {
        /// The replica's, with its generation in front.
        package var name: String
        /// Such as `http://127.0.0.1:8000`.
        package var baseURL: String

        package init(name: String, baseURL: String) {
            self.name = name
            self.baseURL = baseURL
        }
    }

    /// Tokens of the long stream; fewer than the shortest context of a model.
    static let streamTokens = 64
    /// A stream that has more pieces than this does not end.
    private static let pieceLimit = 16 * Self.streamTokens
    /// Characters of an answer in a message.
    private static let excerpt = 120

    private let frontends: [Frontend]
    private let model: String?
    private let request: CanaryRequest
    private let checks: [MigrationSettings.CanaryCheck]

    /// - Parameters:
    ///   - frontends: all of the new generation.
    ///   - model: as clients name it; nil: the first that a frontend lists.
    ///   - request: endpoint, prompt and limit of the built-in requests; for streams it is the longest pause.
    ///   - checks: the manifest's own.
    package init(
        frontends: [Frontend],
        model: String?,
        request: CanaryRequest,
        checks: [MigrationSettings.CanaryCheck]
    ) {
        self.frontends = frontends
        self.model = model
        self.request = request
        self.checks = checks
    }

    /// For the frontends of a plan whose readiness is a generated token.
    package init(_ plan: Plan) {
        var frontends: [Frontend] = []
        var model = plan.model
        for replica in plan.replicas {
            for layer in replica.readiness {
                guard case .generate(let base, let name, _) = layer.probe else { continue }
                frontends.append(
                    Frontend(name: ReplicaLabel.text(replica.name, generation: plan.generation), baseURL: base)
                )
                model = model ?? name
            }
        }
        self.init(frontends: frontends, model: model, request: plan.canary, checks: plan.migration.canary)
    }

    /// Asks everybody everything.
    ///
    /// Frontends are asked at the same time, each one request after another. When the task is cancelled, what is left fails at once and
    /// the result means nothing.
    ///
    /// - Returns: a sentence for each thing that is wrong, in the order of the frontends; empty when nothing is.
    package func troubles() async -> [String] {
        guard !self.frontends.isEmpty else {
            return [
                "no frontend of the new generation can be asked for a token, so nothing proves that it serves; leave a frontend its "
                    + "readiness probe 'serving'"
            ]
        }
        return await withTaskGroup(of: (Int, [String]).self) { group in
            for (index, frontend) in self.frontends.enumerated() {
                group.addTask { (index, await self.troubles(of: frontend)) }
            }
            var all: [Int: [String]] = [:]
            for await (index, troubles) in group { all[index] = troubles }
            return self.frontends.indices.flatMap { all[$0] ?? [] }
        }
    }

    // MARK: One frontend

    private func troubles(of frontend: Frontend) async -> [String] {
        let model: String
        do throws(HTTPFailure) { model = try await self.probe(frontend, model: self.model).chosenModel() } catch {
            return ["\(frontend.name): it was asked which models it has: \(error)"]
        }
        // Whoever cannot give one token fails at everything else too, and one sentence says it.
        if let trouble = await self.token(frontend, model) {
            return ["\(frontend.name): one token was asked for: \(trouble)"]
        }
        var troubles: [String] = []
        if let trouble = await self.stream(frontend, model) {
            troubles.append("\(frontend.name): a stream of \(Self.streamTokens) tokens was asked for: \(trouble)")
        }
        if let trouble = await self.cancel(frontend, model) { troubles.append("\(frontend.name): \(trouble)") }
        for check in self.checks {
            guard let trouble = await self.check(check, frontend, model) else { continue }
            troubles.append("\(frontend.name): it was asked '\(Self.excerpt(check.prompt))': \(trouble)")
        }
        return troubles
    }

    private func probe(_ frontend: Frontend, model: String?) -> ModelProbe {
        ModelProbe(baseURL: frontend.baseURL, model: model, timeout: .seconds(self.request.timeout))
    }

    private func token(_ frontend: Frontend, _ model: String) async -> String? {
        do throws(HTTPFailure) {
            switch try await self.probe(frontend, model: model).generates(self.request) {
            case .success: return nil
            case .failure(let reason): return reason
            }
        } catch {
            return error.description
        }
    }

    /// Ends a stream from inside.
    private struct Enough: Error {
        var trouble: String?
    }

    private func request(
        _ frontend: Frontend,
        _ model: String,
        prompt: String? = nil,
        maxTokens: Int = Self.streamTokens,
        isStreamed: Bool = true
    ) throws(HTTPFailure) -> HTTPRequest {
        let completion = CompletionRequest(
            model: model,
            endpoint: self.request.endpoint,
            prompt: prompt ?? self.request.prompt,
            maxTokens: maxTokens,
            isStreamed: isStreamed
        )
        let url = frontend.baseURL + completion.path
        return try HTTPRequest(url: url, method: "POST", body: Array(completion.body.utf8))
    }

    private func stream(_ frontend: Frontend, _ model: String) async -> String? {
        var reader = EventStreamReader()
        var pieces = 0
        var isDone = false
        do {
            let answer = try await HTTPClient.stream(
                try self.request(frontend, model),
                pause: .seconds(self.request.timeout)
            ) { buffer in
                for event in reader.feed(buffer.readableBytesView) {
                    switch event {
                    case .text:
                        pieces += 1
                        guard pieces <= Self.pieceLimit else {
                            throw Enough(trouble: "it did not end after \(Self.pieceLimit) pieces")
                        }
                    case .done: isDone = true
                    case .failure(let message): throw Enough(trouble: "it broke off: \(Self.excerpt(message))")
                    case .unreadable(let data):
                        throw Enough(trouble: "a piece is no JSON of a completion: \(Self.excerpt(data))")
                    }
                }
            }
            guard answer.isSuccess else { return answer.words }
        } catch let end as Enough {
            return end.trouble
        } catch {
            return Self.words(error) + (pieces > 0 ? ", after \(Self.count(pieces))" : "")
        }
        guard isDone else { return "it ended after \(Self.count(pieces)) without 'data: [DONE]'" }
        return pieces == 0 ? "it ended without a piece of an answer" : nil
    }

    private func cancel(_ frontend: Frontend, _ model: String) async -> String? {
        var reader = EventStreamReader()
        do {
            let answer = try await HTTPClient.stream(
                try self.request(frontend, model),
                pause: .seconds(self.request.timeout)
            ) { buffer in
                for event in reader.feed(buffer.readableBytesView) {
                    if case .failure(let message) = event {
                        throw Enough(trouble: "it broke off: \(Self.excerpt(message))")
                    }
                    throw Enough()
                }
            }
            let trouble = answer.isSuccess ? "it ended without a piece" : answer.words
            return "a stream was asked for, to be given up: \(trouble)"
        } catch let end as Enough {
            if let trouble = end.trouble { return "a stream was asked for, to be given up: \(trouble)" }
        } catch {
            return "a stream was asked for, to be given up: \(Self.words(error))"
        }
        return await self.token(frontend, model).map { "one token was asked for after a stream was given up: \($0)" }
    }

    private func check(_ check: MigrationSettings.CanaryCheck, _ frontend: Frontend, _ model: String) async -> String? {
        let answer: HTTPAnswer
        do throws(HTTPFailure) {
            let request = try self.request(
                frontend,
                model,
                prompt: check.prompt,
                maxTokens: check.maxTokens,
                isStreamed: false
            )
            answer = try await HTTPClient.send(request, timeout: .seconds(check.timeout))
        } catch {
            return error.description
        }
        guard answer.isSuccess else { return answer.words }
        let text: String
        switch TextAnswer.content(of: Array(answer.body.readableBytesView)) {
        case .text(let content): text = content
        case .nothing: return "\(answer.words) has no choice"
        case .failure(let message): return "error: \(Self.excerpt(message))"
        case .unreadable: return "\(answer.words) is no JSON of a completion"
        }
        guard let pattern = check.expect else { return nil }
        // Validation has read the pattern before.
        guard let regex = try? Regex(pattern) else { return "/\(pattern)/ is no regular expression" }
        guard text.firstMatch(of: regex) == nil else { return nil }
        return "the answer must match /\(pattern)/, and it is '\(Self.excerpt(text))'"
    }

    // MARK: Words

    private static func count(_ pieces: Int) -> String { "\(pieces) piece\(pieces == 1 ? "" : "s")" }

    private static func words(_ error: any Error) -> String {
        HTTPClient.failure(from: error).description
    }

    /// One line, not too long.
    static func excerpt(_ text: String) -> String {
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        return line.count > Self.excerpt ? line.prefix(Self.excerpt) + "..." : line
    }
}
