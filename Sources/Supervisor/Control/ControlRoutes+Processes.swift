internal import Deployment
internal import HTTPTypes
internal import HummingbirdCore

/// The routes that change what runs.
extension ControlRoutes {
    func obey(_ order: ProcessOrder, _ request: Request, _ supervisor: Supervisor) async throws -> Response {
        struct Body: Decodable { var processes: [String] }
        let example = "{\"processes\": [\"frontend\"]}"
        do {
            let body: Body? = try await self.body(of: request, example: example)
            let isDryRun = try Self.isDryRun(request)
            guard let names = body?.processes, !names.isEmpty else {
                return Self.error(.badRequest, "the body must name processes, such as \(example)")
            }
            if let refusal = self.server.host.refusal { throw refusal }
            let (outline, progress) = try await supervisor.obey(order, names, isDryRun: isDryRun)
            return Self.stream(outline, progress)
        } catch let bad as BadBody {
            return bad.response
        } catch let refusal as RolloutRefusal {
            return Self.refusal(refusal)
        }
    }

    func signal(_ request: Request, _ supervisor: Supervisor) async throws -> Response {
        struct Body: Decodable {
            var processes: [String]
            var signal: Int32
        }
        let example = "{\"processes\": [\"worker\"], \"signal\": 1}"
        do {
            let body: Body? = try await self.body(of: request, example: example)
            let isDryRun = try Self.isDryRun(request)
            guard let body, !body.processes.isEmpty, (1...64).contains(body.signal) else {
                return Self.error(.badRequest, "the body must name processes and a signal, such as \(example)")
            }
            return try Self.json(try await supervisor.send(body.signal, to: body.processes, isDryRun: isDryRun))
        } catch let bad as BadBody {
            return bad.response
        } catch let refusal as RolloutRefusal {
            return Self.refusal(refusal)
        }
    }

    func scale(_ request: Request, _ supervisor: Supervisor) async throws -> Response {
        struct Body: Decodable { var replicas: [String: Int] }
        let example = "{\"replicas\": {\"worker\": 2}}"
        do {
            let body: Body? = try await self.body(of: request, example: example)
            let isDryRun = try Self.isDryRun(request)
            guard let counts = body?.replicas, !counts.isEmpty, counts.values.allSatisfy({ $0 >= 0 }) else {
                return Self.error(.badRequest, "the body must say how many replicas, such as \(example)")
            }
            if let refusal = self.server.host.refusal { throw refusal }
            let (change, progress) = try await supervisor.scale(counts, isDryRun: isDryRun)
            return Self.stream(change, progress)
        } catch let bad as BadBody {
            return bad.response
        } catch let refusal as RolloutRefusal {
            return Self.refusal(refusal)
        }
    }

    func apply(_ request: Request, to supervisor: Supervisor) async throws -> Response {
        do {
            let isDryRun = try Self.isDryRun(request)
            if let refusal = self.server.host.refusal { throw refusal }
            let (change, progress) = try await supervisor.apply(isDryRun: isDryRun)
            return Self.stream(change, progress)
        } catch let bad as BadBody {
            return bad.response
        } catch let refusal as RolloutRefusal {
            return Self.refusal(refusal)
        }
    }

    private static func isDryRun(_ request: Request) throws(BadBody) -> Bool {
        let text = request.uri.queryParameters["dryRun"].map(String.init) ?? "false"
        guard let isDryRun = Bool(text) else {
            throw BadBody(response: self.error(.badRequest, "dryRun is 'true' or 'false', not '\(text)'"))
        }
        return isDryRun
    }
}
