internal import FoundationEssentials

/// Migrations.
extension ControlClient {
    /// What a migration would do; nothing is done.
    ///
    /// - Throws: `Failure` when no launcher answers, or with why it would be refused.
    package func outline(_ request: MigrationRequest) async throws -> MigrationOutline {
        try await self.ask("POST", "/v1/migrate", ["dryRun=true"], body: try Self.body(request))
    }

    /// Begins a migration, and follows it.
    ///
    /// It goes on in the launcher when the task is cancelled, or when nobody wants to see more.
    ///
    /// - Parameters:
    ///   - request: what is wanted.
    ///   - receive: gets the status at each change and each second, to the end; false when it wants no more.
    /// - Throws: `Failure` when no launcher answers, when it refuses, or when it ends before the migration.
    package func migrate(
        _ request: MigrationRequest,
        receive: (MigrationStatus) async throws -> Bool
    ) async throws {
        let body = Array(try Self.body(request).utf8)
        try await self.follow(
            HTTPRequest(target: .unix(path: self.socket), method: "POST", path: "/v1/migrate", body: body),
            receive
        )
    }

    /// Follows the migration that is under way; of one that has ended there is one status.
    ///
    /// - Parameter receive: gets the status at each change and each second, to the end; false when it wants no more.
    /// - Throws: `Failure` when no launcher answers, when there was no migration, or when the launcher ends before it.
    package func followMigration(receive: (MigrationStatus) async throws -> Bool) async throws {
        try await self.follow(HTTPRequest(target: .unix(path: self.socket), path: "/v1/migration?follow=true"), receive)
    }

    /// The migration that is under way, or the last one.
    ///
    /// - Throws: `Failure` when no launcher answers, or when there was none since it started.
    package func migration() async throws -> MigrationStatus {
        try await self.ask("GET", "/v1/migration", [], within: .seconds(5))
    }

    /// Asks a migration that is under way for something.
    ///
    /// - Returns: its status then.
    /// - Throws: `Failure` when no launcher answers, or with why it does not obey.
    package func migration(_ command: MigrationCommand) async throws -> MigrationStatus {
        try await self.ask("POST", "/v1/migration/\(command.rawValue)", [])
    }

    /// The deployment's migrations, the latest last.
    ///
    /// - Throws: `Failure` when no launcher answers.
    package func migrations() async throws -> [MigrationRecord] {
        try await self.ask("GET", "/v1/migrations", [], within: .seconds(5))
    }

    private static func body(_ request: MigrationRequest) throws -> String {
        String(decoding: try JSONEncoder().encode(request), as: UTF8.self)
    }

    private func follow(_ request: HTTPRequest, _ receive: (MigrationStatus) async throws -> Bool) async throws {
        let decoder = JSONDecoder()
        do {
            try await self.stream(request) { line in
                let status: MigrationStatus
                do { status = try decoder.decode(MigrationStatus.self, from: Data(line)) } catch {
                    throw Failure(
                        description: "\(self.socket) answered something unexpected: \(error)",
                        isNotRunning: false
                    )
                }
                guard try await receive(status) else { throw EnoughSeen() }
            }
        } catch is EnoughSeen {}
    }
}

/// Whoever follows a migration wants to see no more of it.
private struct EnoughSeen: Error {}
