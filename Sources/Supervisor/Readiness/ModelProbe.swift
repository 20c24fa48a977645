package import Deployment
internal import FoundationEssentials
internal import NIOCore

/// Questions about models to an OpenAI-compatible frontend.
package struct ModelProbe: Sendable {
    let baseURL: String
    /// nil: the first one that is listed.
    let model: String?
    let timeout: Duration
    /// Where connections of a readiness request go instead of the URL's host.
    var socketPath: String?
    /// Prepares each connection of a readiness request, for example for TLS.
    var prepare: (@Sendable (any Channel) throws -> Void)?

    /// - Parameters:
    ///   - baseURL: the frontend's, such as `http://127.0.0.1:8000`.
    ///   - model: as clients name it; nil: the first that the frontend lists.
    ///   - timeout: for each request.
    package init(baseURL: String, model: String?, timeout: Duration) {
        self.init(baseURL: baseURL, model: model, timeout: timeout, socketPath: nil, prepare: nil)
    }

    init(
        baseURL: String,
        model: String?,
        timeout: Duration,
        socketPath: String?,
        prepare: (@Sendable (any Channel) throws -> Void)?
    ) {
        self.baseURL = baseURL
        self.model = model
        self.timeout = timeout
        self.socketPath = socketPath
        self.prepare = prepare
    }

    private func request(_ path: String, body: String? = nil) throws(HTTPFailure) -> HTTPRequest {
        let method = body == nil ? "GET" : "POST"
        var request = try HTTPRequest(url: "\(self.baseURL)\(path)", method: method, body: body.map { Array($0.utf8) })
        if let socketPath { request.target = .unix(path: socketPath) }
        request.prepare = self.prepare
        return request
    }

    /// Whether the model (nil: any) is listed.
    func listed() async throws(HTTPFailure) -> ProbeOutcome {
        let answer = try await HTTPClient.send(HTTPRequest(url: "\(self.baseURL)/v1/models"), timeout: self.timeout)
        switch Self.models(in: answer) {
        case .failure(let failure): return .failure(failure.description)
        case .success(let models): return self.judge(models)
        }
    }

    /// Whether the frontend says that the model can be served; where it has no such route, whether the model is listed.
    func ready() async throws(HTTPFailure) -> ProbeOutcome {
        let list = try await HTTPClient.send(HTTPRequest(url: "\(self.baseURL)/v1/models"), timeout: self.timeout)
        let models: [String]
        switch Self.models(in: list) {
        case .failure(let failure): return .failure(failure.description)
        case .success(let listed): models = listed
        }
        if case .failure(let reason) = self.judge(models) { return .failure(reason) }
        guard let name = self.model ?? models.first else { return .failure("model list is empty") }
        let url = "\(self.baseURL)/v1/models/\(Self.percentEncoded(name))/ready"
        let answer = try await HTTPClient.send(HTTPRequest(url: url), timeout: self.timeout)
        if answer.isSuccess { return .success }
        // A release without the route answers like any unknown path; one with it knows the model, because it lists it.
        return answer.status == 404 || answer.status == 405 ? .success : .failure(answer.words)
    }

    /// The model that a readiness request asks.
    func name() async -> String? { try? await self.chosenModel() }

    /// The model that is asked: the one that was given, else the first that the frontend lists.
    ///
    /// - Throws: when there is no list, or nothing in it.
    package func chosenModel() async throws(HTTPFailure) -> String {
        if let model = self.model { return model }
        let list = try await HTTPClient.send(self.request("/v1/models"), timeout: self.timeout)
        guard let first = try Self.models(in: list).get().first else { throw HTTPFailure("model list is empty") }
        return first
    }

    /// Whether one token comes back.
    package func generates(_ canary: CanaryRequest) async throws(HTTPFailure) -> ProbeOutcome {
        let name = try await self.chosenModel()
        let completion = CompletionRequest(model: name, endpoint: canary.endpoint, prompt: canary.prompt)
        let answer = try await HTTPClient.send(
            self.request(completion.path, body: completion.body),
            timeout: self.timeout
        )
        guard answer.status == 200 else { return .failure(answer.words) }
        struct Completion: Decodable {
            struct Choice: Decodable {}
            var choices: [Choice]
        }
        guard let completion = try? JSONDecoder().decode(Completion.self, from: Data(answer.body.readableBytesView)),
            !completion.choices.isEmpty
        else { return .failure("200 without a choice: \(answer.words)") }
        return .success
    }

    private func judge(_ models: [String]) -> ProbeOutcome {
        if models.isEmpty { return .failure("model list is empty") }
        guard let model = self.model, !models.contains(model) else { return .success }
        return .failure("model list has \(models.joined(separator: ", ")), not \(model)")
    }

    static func models(in answer: HTTPAnswer) -> Result<[String], HTTPFailure> {
        guard answer.isSuccess else { return .failure(HTTPFailure(answer.words)) }
        struct List: Decodable {
            struct Model: Decodable { var id: String }
            var data: [Model]
        }
        guard let list = try? JSONDecoder().decode(List.self, from: Data(answer.body.readableBytesView)) else {
            return .failure(HTTPFailure("not a list of models: \(answer.words)"))
        }
        return .success(list.data.map(\.id))
    }

    /// One path segment: everything but unreserved characters is encoded, slashes too.
    static func percentEncoded(_ segment: String) -> String {
        var result = ""
        for byte in segment.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                result += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return result
    }
}

extension Plan {
    /// Asks the frontend whose readiness is a generated token, if there is one.
    var modelProbe: ModelProbe? {
        for layer in self.replicas.flatMap(\.readiness) {
            guard case .generate(let base, let model, _) = layer.probe else { continue }
            return ModelProbe(baseURL: base, model: model, timeout: .seconds(5))
        }
        return nil
    }
}
