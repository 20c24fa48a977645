import Deployment
import Foundation
import NIOCore
import Synchronization
import Testing

@testable import Supervisor

/// The routes of migrations, asked over the control socket.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct MigrationRouteTests {
    private static func status(_ step: MigrationStep) -> MigrationStatus {
        MigrationStatus(
            id: 3,
            from: .init(number: 1, requestPlane: "tcp"),
            to: .init(number: 2, requestPlane: "nats"),
            strategy: .blueGreen,
            step: step,
            stages: 3
        )
    }

    /// Knows two statuses of each migration, and obeys all but one command.
    private final class Fake: MigrationControl {
        let requests = Mutex<[MigrationRequest]>([])
        let commands = Mutex<[MigrationCommand]>([])
        let current = Mutex<MigrationStatus?>(nil)

        func outline(_ request: MigrationRequest) async throws(MigrationRefusal) -> MigrationOutline {
            self.requests.withLock { $0.append(request) }
            if request.manifest != nil {
                throw MigrationRefusal(cause: .badManifest, description: "new.yaml:3:1: error: no")
            }
            return MigrationOutline(
                from: "1 (tcp)",
                to: "2 (nats)",
                strategy: .rolling,
                steps: ["start"],
                needs: ["nats-server"],
                gap: nil,
                notes: []
            )
        }

        func migrate(_ request: MigrationRequest) async throws(MigrationRefusal) -> AsyncStream<MigrationStatus> {
            self.requests.withLock { $0.append(request) }
            guard self.current.withLock({ $0 }) == nil else {
                throw MigrationRefusal(cause: .conflict, description: "a migration is under way")
            }
            self.current.withLock { $0 = MigrationRouteTests.status(.done) }
            return Self.stream([.preparing, .done])
        }

        func command(_ command: MigrationCommand) async throws(MigrationRefusal) -> MigrationStatus {
            self.commands.withLock { $0.append(command) }
            if command == .promote { throw MigrationRefusal(cause: .conflict, description: "it is too early") }
            return MigrationRouteTests.status(.rollingBack)
        }

        func status() async -> MigrationStatus? { self.current.withLock { $0 } }
        func follow() async -> AsyncStream<MigrationStatus>? { nil }

        func history() async -> [MigrationRecord] {
            [
                MigrationRecord(
                    id: 3,
                    began: "2026-01-01T00:00:00Z",
                    ended: nil,
                    from: "1 (tcp)",
                    to: "2 (nats)",
                    strategy: .blueGreen,
                    step: .canary
                )
            ]
        }

        private static func stream(_ steps: [MigrationStep]) -> AsyncStream<MigrationStatus> {
            AsyncStream { continuation in
                for step in steps { continuation.yield(MigrationRouteTests.status(step)) }
                continuation.finish()
            }
        }
    }

    private func withControl(
        _ migrations: Fake?,
        _ body: (ControlClient, (String, String, String?) async throws -> (status: Int, text: String)) async throws ->
            Void
    ) async throws {
        let folder = ScratchFolder()
        let plan = Plan.test(folder, [.shell("worker", "exec sleep 1000")])
        try await RunningSupervisor.run(plan, migrations: migrations) { running in
            try await running.becomesReady()
            let socket = HTTPTarget.unix(path: plan.directories.controlSocket)
            try await body(ControlClient(plan.directories)) { method, path, text in
                let request = HTTPRequest(
                    target: socket,
                    method: method,
                    path: path,
                    body: text.map { Array($0.utf8) }
                )
                let answer = try await HTTPClient.send(request, timeout: .seconds(5))
                return (answer.status, String(buffer: answer.body))
            }
        }
    }

    @Test func `a migration is followed to its end, and looked at afterwards`() async throws {
        let fake = Fake()
        try await self.withControl(fake) { client, ask in
            let none = try await ask("GET", "/v1/migration", nil)
            #expect(
                none.status == 404
                    && none.text.contains(
                        "there has been no migration since the launcher started; earlier ones: dynamo-launch migrate history"
                    )
            )
            #expect(try await ask("GET", "/v1/migration?follow=true", nil).status == 404)

            let seen = Mutex<[MigrationStep]>([])
            let request = MigrationRequest(
                requestPlane: "nats",
                manifest: "/m.yaml",
                set: ["a=b"],
                strategy: .rolling,
                steps: [50, 100],
                observe: 2.5,
                rollbackWindow: 0,
                confirm: true
            )
            try await client.migrate(request) { status in
                seen.withLock { $0.append(status.step) }
                return true
            }
            #expect(seen.withLock { $0 } == [.preparing, .done])
            #expect(fake.requests.withLock { $0 } == [request])
            #expect(try await client.migration() == Self.status(.done))
            try await client.followMigration { status in
                seen.withLock { $0.append(status.step) }
                return true
            }
            #expect(seen.withLock { $0 } == [.preparing, .done, .done])
            #expect(try await client.migrations().map(\.step) == [.canary])
            await #expect(throws: ControlClient.Failure.self) { try await client.migrate(request) { _ in true } }
            let second = try await ask("POST", "/v1/migrate", "{\"requestPlane\":\"tcp\"}")
            #expect(second.status == 409 && second.text.contains("a migration is under way"))
            // The defaults of a body that says little.
            #expect(fake.requests.withLock { $0.last } == MigrationRequest(requestPlane: "tcp"))
        }
    }

    @Test func `nothing is done on a dry run`() async throws {
        let fake = Fake()
        try await self.withControl(fake) { client, ask in
            let outline = try await client.outline(MigrationRequest(set: ["planes.request=nats"]))
            #expect(outline.needs == ["nats-server"] && outline.strategy == .rolling)
            #expect(await fake.status() == nil)
            let bad = try await ask("POST", "/v1/migrate?dryRun=true", "{\"manifest\":\"/new.yaml\"}")
            #expect(bad.status == 422 && bad.text.contains("new.yaml:3:1: error: no"))
        }
    }

    @Test func `commands are passed on, or refused with the reason`() async throws {
        let fake = Fake()
        try await self.withControl(fake) { client, ask in
            for command in MigrationCommand.allCases where command != .promote {
                #expect(try await client.migration(command).step == .rollingBack)
            }
            let refused = try await ask("POST", "/v1/migration/promote", "{}")
            #expect(refused.status == 409 && refused.text.contains("it is too early"))
            #expect(fake.commands.withLock { Set($0) } == Set(MigrationCommand.allCases))
            let count = fake.commands.withLock { $0.count }
            #expect(try await ask("GET", "/v1/migration/abort", nil).status == 405)
            #expect(try await ask("POST", "/v1/migration/stop", nil).status == 404)
            let body = try await ask("POST", "/v1/migration/abort", "{\"now\":true}")
            #expect(body.status == 400 && body.text.contains("the body of a command must be empty"))
            #expect(fake.commands.withLock { $0.count } == count)
        }
    }

    @Test func `a body or a query that says something else is refused`() async throws {
        let cases = [
            ("", "", "the body must say what is to be changed"),
            ("", "{}", "nothing is to be changed: give 'requestPlane', 'manifest' or 'set'"),
            ("", "[]", "the body must be a JSON object"),
            ("", "{\"requestPlan\":\"nats\"}", "unknown key 'requestPlan'; did you mean 'requestPlane'?"),
            ("", "{\"x\":1}", "unknown key 'x'; there are: requestPlane, manifest"),
            ("", "{\"requestPlane\":\"nat\"}", "can be 'tcp', 'http' or 'nats', not 'nat'; did you mean 'nats'?"),
            ("", "{\"requestPlane\":1}", "'requestPlane' in the body must be a word"),
            ("", "{\"manifest\":\"m.yaml\"}", "'manifest' takes an absolute path, not 'm.yaml'"),
            ("", "{\"set\":[\"a\"]}", "'set' takes KEY=VALUE"),
            ("", "{\"requestPlane\":\"tcp\",\"strategy\":\"bluegren\"}", "did you mean 'blue-green'?"),
            ("", "{\"requestPlane\":\"tcp\",\"steps\":[5,25]}", "of which the last one is 100, not 5,25"),
            ("", "{\"requestPlane\":\"tcp\",\"steps\":[50,5,100]}", "rising percentages"),
            ("", "{\"requestPlane\":\"tcp\",\"steps\":[]}", "rising percentages"),
            ("", "{\"requestPlane\":\"tcp\",\"observe\":-1}", "'observe' takes seconds, from 0 to"),
            ("", "{\"requestPlane\":\"tcp\",\"rollbackWindow\":1e300}", "'rollbackWindow' takes seconds"),
            ("", "{\"requestPlane\":\"tcp\",\"confirm\":\"yes\"}", "'confirm' in the body must be true or false"),
            ("?dryRun=maybe", "{\"requestPlane\":\"tcp\"}", "dryRun is 'true' or 'false', not 'maybe'"),
            ("?dryrun=true", "{\"requestPlane\":\"tcp\"}", "knows no query 'dryrun'; did you mean 'dryRun'?"),
        ]
        let fake = Fake()
        try await self.withControl(fake) { _, ask in
            for (query, body, words) in cases {
                let answer = try await ask("POST", "/v1/migrate\(query)", body)
                #expect(answer.status == 400 && answer.text.contains(words), "\(body): \(answer)")
            }
            let follow = try await ask("GET", "/v1/migration?follow=yes", nil)
            #expect(follow.status == 400 && follow.text.contains("follow is 'true' or 'false', not 'yes'"))
            #expect(fake.requests.withLock { $0.isEmpty })
        }
    }

    @Test func `a deployment without a gateway says that it cannot migrate`() async throws {
        try await self.withControl(nil) { client, ask in
            for (method, path) in [("POST", "/v1/migrate"), ("GET", "/v1/migration"), ("POST", "/v1/migration/abort")] {
                let answer = try await ask(method, path, nil)
                #expect(answer.status == 409 && answer.text.contains("this deployment cannot migrate"), "\(answer)")
            }
            let unknown = try await ask("GET", "/v1/migrat", nil)
            #expect(unknown.status == 404 && unknown.text.contains("POST /v1/migration/rollback"))
        }
    }
}
