internal import Deployment
internal import FoundationEssentials
internal import HTTPTypes
internal import HummingbirdCore
internal import NIOCore
internal import NIOPosix

/// The routes of the control interface.
struct ControlRoutes: Sendable {
    let server: ControlServer

    private static let bodyLimit = 64 << 10
    private static let methods = [
        "/v1/status": HTTPTypes.HTTPRequest.Method.get, "/v1/plan": .get, "/v1/stop": .post, "/v1/restart": .post,
        "/v1/apply": .post, "/v1/scale": .post, "/v1/signal": .post, "/v1/start": .post, "/v1/stop-processes": .post,
        "/v1/logs": .get, "/metrics": .get, "/v1/upgrade": .post,
    ].merging(Self.migrationMethods) { $1 }
    private static let descriptions =
        [
            "GET /v1/status[?wait=ready&timeout=SECONDS&use=true]", "GET /v1/plan",
            "POST /v1/stop[?wait=false] {\"now\": bool}",
            "POST /v1/restart[?dryRun=true] {\"processes\": [NAME, ...]}",
            "POST /v1/stop-processes[?dryRun=true] {\"processes\": [NAME, ...]}",
            "POST /v1/start[?dryRun=true] {\"processes\": [NAME, ...]}",
            "POST /v1/signal[?dryRun=true] {\"processes\": [NAME, ...], \"signal\": NUMBER}",
            "POST /v1/scale[?dryRun=true] {\"replicas\": {PROCESS: NUMBER, ...}}", "POST /v1/apply[?dryRun=true]",
            "GET /v1/logs[?process=NAME&lines=N&follow=true]", "GET /metrics",
            "POST /v1/upgrade {\"binary\": PATH}",
        ] + Self.migrationDescriptions

    // Concurrent because of the writer: it belongs to no actor and cannot be sent to one.
    @concurrent
    func respond(to request: Request, _ writer: consuming ResponseWriter) async throws {
        let response = try await self.response(to: request)
        try await writer.write(
            response: response.head,
            body: request.method == .head ? ResponseBody() : response.body
        )
    }

    private func response(to request: Request) async throws -> Response {
        let path = request.uri.path
        guard let method = Self.methods[path], request.method == method else {
            var response = Self.error(
                Self.methods[path] == nil ? .notFound : .methodNotAllowed,
                "there is no \(request.method.rawValue) \(path)",
                routes: Self.descriptions
            )
            response.headers[HTTPField.Name.allow] = Self.methods[path]?.rawValue
            return response
        }
        guard let supervisor = self.server.host.current else {
            return Self.error(.serviceUnavailable, "the deployment is about to be started")
        }
        switch path {
        case "/v1/status": return try await self.status(request, of: supervisor)
        case "/v1/stop": return try await self.stop(request, supervisor)
        case "/v1/restart": return try await self.obey(.restart, request, supervisor)
        case "/v1/stop-processes": return try await self.obey(.stop, request, supervisor)
        case "/v1/start": return try await self.obey(.start, request, supervisor)
        case "/v1/signal": return try await self.signal(request, supervisor)
        case "/v1/scale": return try await self.scale(request, supervisor)
        case "/v1/apply": return try await self.apply(request, to: supervisor)
        case "/v1/logs": return try await self.logs(request, of: supervisor)
        case "/metrics": return await self.metrics(of: supervisor)
        case "/v1/upgrade": return try await self.upgrade(request)
        case let path where Self.migrationMethods[path] != nil: return try await self.migration(request)
        default: return try Self.json(supervisor.shared.active.masked)
        }
    }

    private func status(_ request: Request, of supervisor: Supervisor) async throws -> Response {
        let query = request.uri.queryParameters
        let wait = query["wait"].map(String.init)
        guard wait == nil || wait == "ready" || wait == "stopped" else {
            return Self.error(.badRequest, "wait can be 'ready' or 'stopped', not '\(wait ?? "")'")
        }
        var limit: Duration?
        if let text = query["timeout"] {
            guard let seconds = Double(String(text)), seconds >= 0, seconds <= 1e7 else {
                return Self.error(.badRequest, "timeout is a number of seconds, not '\(text)'")
            }
            limit = .seconds(seconds)
        }
        let use = query["use"].map(String.init) ?? "false"
        guard let measures = Bool(use) else {
            return Self.error(.badRequest, "use is 'true' or 'false', not '\(use)'")
        }
        let moment: StatusQuery.Moment =
            switch wait {
            case "ready": .readyOrEnded
            case "stopped": .ended
            default: .now
            }
        guard var status = await supervisor.status(moment, limit: limit) else {
            return Self.error(.serviceUnavailable, "the deployment has ended")
        }
        if measures {
            let plain = status
            status = try await NIOThreadPool.singleton.runIfActive {
                var measured = plain
                measured.measure()
                return measured
            }
        }
        status.migration = await self.server.migrations?.status()
        return try Self.json(status)
    }

    private func metrics(of supervisor: Supervisor) async -> Response {
        guard var status = await supervisor.status() else {
            return Self.error(.serviceUnavailable, "the deployment has ended")
        }
        status.migration = await self.server.migrations?.status()
        return Response(
            status: .ok,
            headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: await self.server.metrics(status)))
        )
    }

    /// The connection ends without an answer when the launcher is another program from then on.
    private func upgrade(_ request: Request) async throws -> Response {
        struct Body: Decodable { var binary: String }
        let body: Body?
        do throws(BadBody) {
            body = try await self.body(of: request, example: "{\"binary\": \"/usr/bin/dynamo-launch\"}")
        } catch {
            return error.response
        }
        guard let binary = body?.binary, binary.hasPrefix("/") else {
            return Self.error(.badRequest, "binary is the absolute path of a program")
        }
        return Self.error(.conflict, await self.server.host.upgrade(to: binary))
    }

    private func stop(_ request: Request, _ supervisor: Supervisor) async throws -> Response {
        struct Body: Decodable { var now: Bool? }
        let body: Body?
        do throws(BadBody) { body = try await self.body(of: request, example: "{\"now\": false}") } catch {
            return error.response
        }
        let waits = request.uri.queryParameters["wait"] != "false"
        let (host, now) = (self.server.host, body?.now ?? false)
        guard
            let status = await supervisor.stop(
                waits: waits,
                {
                    host.requestStop(now: now)
                }
            )
        else {
            return Self.error(.serviceUnavailable, "the deployment has ended")
        }
        return try Self.json(status)
    }

    static func refusal(_ refusal: RolloutRefusal) -> Response {
        let status: HTTPResponse.Status =
            switch refusal.cause {
            case .unknownProcess: .notFound
            case .conflict: .conflict
            case .badManifest: .unprocessableContent
            }
        return self.error(status, refusal.description)
    }

    /// What is to be done, and each step as it is done, one on a line.
    static func stream(_ first: (some Encodable & Sendable)?, _ progress: AsyncStream<RolloutProgress>?) -> Response {
        let body = ResponseBody { writer in
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            func line(_ value: some Encodable) throws -> ByteBuffer {
                ByteBuffer(bytes: Array(try encoder.encode(value)) + [UInt8(ascii: "\n")])
            }
            if let first { try await writer.write(line(first)) }
            if let progress {
                for await step in progress { try await writer.write(line(step)) }
            }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: [.contentType: "application/x-ndjson"], body: body)
    }

    /// Why a body cannot be used.
    struct BadBody: Error {
        var response: Response
    }

    /// Nil when there is none.
    func body<Body: Decodable>(of request: Request, example: String) async throws(BadBody) -> Body? {
        let buffer: ByteBuffer
        do { buffer = try await request.body.collect(upTo: Self.bodyLimit) } catch is NIOTooManyBytesError {
            var response = Self.error(.contentTooLarge, "the body is larger than \(Self.bodyLimit) bytes")
            // The rest of the body is not read.
            response.headers[.connection] = "close"
            throw BadBody(response: response)
        } catch {
            throw BadBody(response: Self.error(.badRequest, "the body could not be read: \(error)"))
        }
        guard buffer.readableBytes > 0 else { return nil }
        do { return try JSONDecoder().decode(Body.self, from: Data(buffer.readableBytesView)) } catch let bad
            as BadBodyValue
        {
            throw BadBody(response: Self.error(.badRequest, bad.description))
        } catch {
            throw BadBody(response: Self.error(.badRequest, "the body must be a JSON object such as \(example)"))
        }
    }

    private func logs(_ request: Request, of supervisor: Supervisor) async throws -> Response {
        let query = request.uri.queryParameters
        let plan = supervisor.shared.slots
        var indexes = Array(plan.replicas.indices)
        if let process = query["process"].map(String.init) {
            indexes = indexes.filter {
                let replica = plan.replicas[$0]
                return replica.process == process || replica.name == process
            }
            guard !indexes.isEmpty else {
                let names = supervisor.shared.active.replicas.flatMap { [$0.process, $0.name] }
                return Self.error(.notFound, UnknownProcess.words(process, among: names))
            }
        }
        var count = 100
        if let text = query["lines"] {
            guard let number = Int(String(text)), (0...100_000).contains(number) else {
                return Self.error(.badRequest, "lines is a number from 0 to 100000, not '\(text)'")
            }
            count = number
        }
        let follows = query["follow"] == "true"
        // Before the files are read, so that nothing falls between; a line that is in both comes twice at most.
        let following = follows ? supervisor.pump.follow(query["process"] == nil ? nil : Set(indexes)) : nil
        let wanted = indexes
        let limit = count
        let past = try await NIOThreadPool.singleton.runIfActive { LogTail.lines(of: wanted, in: plan, count: limit) }
        let body = ResponseBody { writer in
            for line in past { try await writer.write(Self.buffer(of: line)) }
            if let following {
                // An empty line stands between what was and what comes.
                try await writer.write(ByteBuffer(string: "\n"))
                for await line in following { try await writer.write(Self.buffer(of: line)) }
            }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: [.contentType: "application/x-ndjson"], body: body)
    }

    private static func buffer(of line: LogLine) -> ByteBuffer {
        ByteBuffer(string: ConsoleFormatter.json(line) + "\n")
    }

    // MARK: Answers

    static func json(_ value: some Encodable) throws -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let data = try encoder.encode(value)
        return Response(
            status: .ok,
            headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: Array(data) + [UInt8(ascii: "\n")]))
        )
    }

    static func error(_ status: HTTPResponse.Status, _ message: String, routes: [String] = []) -> Response {
        var text = "{\"error\":{\"status\":\(status.code),\"message\":\(ConsoleFormatter.quoted(message))"
        if !routes.isEmpty { text += ",\"routes\":[\(routes.map(ConsoleFormatter.quoted).joined(separator: ","))]" }
        return Response(
            status: status,
            headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text + "}}\n"))
        )
    }
}
