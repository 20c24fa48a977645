internal import Deployment
internal import FoundationEssentials
internal import HTTPTypes
internal import HummingbirdCore
internal import NIOCore
internal import ServiceLifecycle

/// Migrations.
extension ControlRoutes {
    static let migrationMethods: [String: HTTPTypes.HTTPRequest.Method] = {
        var methods: [String: HTTPTypes.HTTPRequest.Method] = [
            "/v1/migrate": .post, "/v1/migration": .get, "/v1/migrations": .get,
        ]
        for command in MigrationCommand.allCases { methods["/v1/migration/\(command.rawValue)"] = .post }
        return methods
    }()

    static let migrationDescriptions =
        [
            "POST /v1/migrate[?dryRun=true] \(MigrationBody.example)", "GET /v1/migration[?follow=true]",
        ] + MigrationCommand.allCases.map { "POST /v1/migration/\($0.rawValue)" } + ["GET /v1/migrations"]

    /// A request to one of the paths of `migrationMethods`, with its method.
    func migration(_ request: Request) async throws -> Response {
        guard let migrations = self.server.migrations else {
            return Self.error(
                .conflict,
                "this deployment cannot migrate: clients reach its frontend itself, not the launcher's gateway; "
                    + "without 'gateway: false' in the manifest, and without a port of the frontend's own, the launcher has "
                    + "the public port (docs/manifest.md, Gateway)"
            )
        }
        let path = request.uri.path
        switch path {
        case "/v1/migrate": return try await self.migrate(request, migrations)
        case "/v1/migration": return try await self.migrationStatus(request, migrations)
        case "/v1/migrations":
            if let trouble = Self.unknownQuery(request, []) { return trouble }
            return try Self.json(await migrations.history())
        default: return try await self.obey(request, migrations)
        }
    }

    private func migrate(_ request: Request, _ migrations: any MigrationControl) async throws -> Response {
        if let trouble = Self.unknownQuery(request, ["dryRun"]) { return trouble }
        let isDryRun: Bool
        switch Self.flag("dryRun", of: request) {
        case .success(let value): isDryRun = value
        case .failure(let bad): return bad.response
        }
        let body: MigrationBody?
        do throws(BadBody) { body = try await self.body(of: request, example: MigrationBody.example) } catch {
            return error.response
        }
        guard let wanted = body?.request else {
            return Self.error(.badRequest, "the body must say what is to be changed, such as \(MigrationBody.example)")
        }
        do throws(MigrationRefusal) {
            if isDryRun { return try Self.answer(try await migrations.outline(wanted)) }
            return Self.lines(of: try await migrations.migrate(wanted))
        } catch {
            return Self.refusal(error)
        }
    }

    private func migrationStatus(_ request: Request, _ migrations: any MigrationControl) async throws -> Response {
        if let trouble = Self.unknownQuery(request, ["follow"]) { return trouble }
        switch Self.flag("follow", of: request) {
        case .failure(let bad): return bad.response
        case .success(true):
            if let statuses = await migrations.follow() { return Self.lines(of: statuses) }
        case .success(false): break
        }
        guard let status = await migrations.status() else {
            return Self.error(
                .notFound,
                "there has been no migration since the launcher started; earlier ones: dynamo-launch migrate history"
            )
        }
        // Followed, one that has ended is one line.
        return Self.flag("follow", of: request) == .success(true)
            ? Self.lines(
                of: AsyncStream { continuation in
                    continuation.yield(status)
                    continuation.finish()
                }
            ) : try Self.json(status)
    }

    private func obey(_ request: Request, _ migrations: any MigrationControl) async throws -> Response {
        guard let command = MigrationCommand(rawValue: String(request.uri.path.dropFirst("/v1/migration/".count)))
        else {
            return Self.error(.notFound, "there is no \(request.method.rawValue) \(request.uri.path)")
        }
        if let trouble = Self.unknownQuery(request, []) { return trouble }
        do throws(BadBody) { _ = try await self.body(of: request, example: "{}") as EmptyBody? } catch {
            return error.response
        }
        do throws(MigrationRefusal) { return try Self.answer(try await migrations.command(command)) } catch {
            return Self.refusal(error)
        }
    }

    // MARK: Answers

    /// JSON, or that it cannot be written.
    private static func answer(_ value: some Encodable) throws(MigrationRefusal) -> Response {
        do { return try self.json(value) } catch {
            throw MigrationRefusal(cause: .conflict, description: "the answer cannot be written as JSON: \(error)")
        }
    }

    private static func refusal(_ refusal: MigrationRefusal) -> Response {
        switch refusal.cause {
        case .conflict: self.error(.conflict, refusal.description)
        case .badManifest: self.error(.unprocessableContent, refusal.description)
        }
    }

    /// One status on a line, until there are no more; the migration goes on when the reader leaves.
    private static func lines(of statuses: AsyncStream<MigrationStatus>) -> Response {
        let body = ResponseBody { writer in
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            // The launcher does not wait for its readers when it ends.
            for await status in statuses.cancelOnGracefulShutdown() {
                try await writer.write(ByteBuffer(bytes: Array(try encoder.encode(status)) + [UInt8(ascii: "\n")]))
            }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: [.contentType: "application/x-ndjson"], body: body)
    }

    // MARK: Requests

    /// A query that can be `true` or `false`; false when it is not there.
    private static func flag(_ name: String, of request: Request) -> Result<Bool, BadQuery> {
        guard let text = request.uri.queryParameters[name[...]].map(String.init) else { return .success(false) }
        guard let value = Bool(text) else {
            return .failure(BadQuery(message: "\(name) is 'true' or 'false', not '\(text)'"))
        }
        return .success(value)
    }

    private static func unknownQuery(_ request: Request, _ known: [String]) -> Response? {
        for key in request.uri.queryParameters.map({ String($0.key) }) where !known.contains(key) {
            let hint = Spelling.nearest(to: key, among: known).map { "; did you mean '\($0)'?" } ?? ""
            return self.error(.badRequest, "\(request.uri.path) knows no query '\(key)'\(hint)")
        }
        return nil
    }

    private struct BadQuery: Error, Hashable {
        let message: String

        var response: Response { ControlRoutes.error(.badRequest, self.message) }
    }

    /// `{}`: commands have nothing to say beside their path.
    private struct EmptyBody: Decodable {
        init(from decoder: any Decoder) throws {
            guard try decoder.container(keyedBy: AnyKey.self).allKeys.isEmpty else {
                throw BadBodyValue(description: "the body of a command must be empty")
            }
        }

        private struct AnyKey: CodingKey {
            let stringValue: String
            var intValue: Int? { nil }

            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }
    }
}
