import Discovery
import DynamoRuntime
import HTTPTypes
import HummingbirdCore
import NIOCore
import RequestPlane

/// Sends each request to what answers it.
struct RequestRouter: Sendable {
    let models: ModelStore
    let generation: GenerationHandler
    let metrics: FrontendMetrics
    let metricsText: @Sendable () -> String

    var activity: Activity { self.generation.activity }

    @concurrent
    func respond(to request: Request, _ writer: consuming ResponseWriter) async throws {
        let path = request.uri.path
        switch path {
        case "/v1/chat/completions":
            guard request.method == .post else { return try await self.refuse(request, allowed: "POST", writer) }
            try await self.generation.respond(to: request, kind: .chat, writer)
        case "/v1/completions":
            guard request.method == .post else { return try await self.refuse(request, allowed: "POST", writer) }
            try await self.generation.respond(to: request, kind: .completions, writer)
        default:
            guard let answer = self.answer(to: path) else {
                let error = OpenAIError(
                    status: .notFound,
                    kind: .notFound,
                    message: "Route not found: \(request.method.rawValue) \(path)",
                    code: "route_not_found"
                )
                return try await writer.write(error)
            }
            guard request.method == .get || request.method == .head else {
                return try await self.refuse(request, allowed: "GET", writer)
            }
            try await writer.write(answer, withBody: request.method == .get)
        }
    }

    @concurrent
    private func refuse(_ request: Request, allowed: String, _ writer: consuming ResponseWriter) async throws {
        let error = OpenAIError(
            status: .methodNotAllowed,
            kind: .invalidRequest,
            message: "\(request.uri.path) takes \(allowed), not \(request.method.rawValue)",
            code: "method_not_allowed"
        )
        try await writer.write(error, headers: [.allow: allowed])
    }

    /// What a plain question is answered with; nil if there is no such path.
    private func answer(to path: String) -> Answer? {
        switch path {
        case "/live": return Answer(.ok, ["status": "live", "message": "Service is live"])
        case "/health": return self.health()
        case "/metrics":
            self.metrics.describe(self.models.current)
            return Answer(
                status: .ok,
                contentType: "text/plain; version=0.0.4; charset=utf-8",
                body: ByteBuffer(string: self.metricsText())
            )
        case "/v1/models":
            return Answer(.ok, ["object": "list", "data": .array(self.models.current.listings.map(Self.json))])
        default:
            let prefix = "/v1/models/"
            guard path.hasPrefix(prefix), path != prefix else { return nil }
            return self.model(String(path.dropFirst(prefix.count)))
        }
    }

    // MARK: Health

    private func health() -> Answer {
        let instances = self.models.current.instances
        let endpoints = Set(instances.map { "dyn://\($0.instance.endpoint)" }).sorted()
        let isDraining = self.activity.isDraining
        return Answer(
            isDraining ? .serviceUnavailable : .ok,
            [
                "status": isDraining ? "draining" : "healthy",
                "endpoints": .array(endpoints.map(JSONValue.string)),
                "instances": .array(
                    instances.map { record in
                        var fields = JSONFields()
                        fields.append(record.instance)
                        if let deviceType = record.deviceType { fields.append("device_type", .string(deviceType)) }
                        return .object(fields)
                    }
                ),
            ]
        )
    }

    // MARK: Models

    private func model(_ rest: String) -> Answer {
        let suffix = "/ready"
        let asksReady = rest.hasSuffix(suffix) && rest != suffix
        let encoded = asksReady ? String(rest.dropLast(suffix.count)) : rest
        let name = encoded.removingPercentEncoding
        let directory = self.models.current
        guard let listing = directory.listing(of: name), asksReady || listing.isReady else {
            return Answer(.unknownModel(name))
        }
        return asksReady ? Self.readiness(listing) : Answer(.ok, Self.json(listing))
    }

    private static func json(_ listing: ModelDirectory.Listing) -> JSONValue {
        [
            "id": .string(listing.name), "object": "model", "created": JSONValue(listing.created), "owned_by": "nvidia",
            "context_window": JSONValue(listing.contextLength),
        ]
    }

    /// The form of Dynamo 1.6, the first release whose frontend answers here.
    private static func readiness(_ listing: ModelDirectory.Listing) -> Answer {
        var body: JSONFields = ["model": .string(listing.name), "ready": .bool(listing.isReady)]
        if !listing.isReady { body.append("reason", "no namespace has all required worker types live") }
        let namespaces = listing.namespaces.sorted { $0.key < $1.key }.map { namespace, workers in
            JSONFields.Member(namespace, workers > 0 ? Self.ready(workers, listing.prefills[namespace]) : Self.notReady)
        }
        body.append("namespaces", .object(JSONFields(namespaces)))
        return Answer(listing.isReady ? .ok : .serviceUnavailable, .object(body))
    }

    private static func ready(_ workers: Int, _ prefills: Int?) -> JSONValue {
        func type(_ count: Int) -> JSONValue { ["workers": JSONValue(count), "needs": []] }
        guard let prefills else {
            return [
                "ready": true, "worker_types": ["aggregated": type(workers)], "present": ["aggregated"],
                "missing_worker_types": [],
            ]
        }
        return [
            "ready": true, "worker_types": ["decode": type(workers), "prefill": type(prefills)],
            "present": ["decode", "prefill"], "missing_worker_types": [],
        ]
    }

    private static let notReady: JSONValue = [
        "ready": false, "reason": "no live worker", "worker_types": [:], "present": [],
        "missing_worker_types": ["aggregated"],
    ]
}
