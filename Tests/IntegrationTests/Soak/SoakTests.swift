import Deployment
import Foundation
import Glibc
import Supervisor
import TestSupport
import Testing

/// What the environment says of a soak.
private enum SoakSettings {
    private static func number(_ name: String) -> UInt64? {
        ProcessInfo.processInfo.environment[name].flatMap(UInt64.init)
    }

    /// How long it lasts.
    static let seconds = Self.number("DYNAMO_SOAK_SECONDS").map(Int.init(clamping:)) ?? 30
    /// Without a wish, one for each request plane; a long one is one.
    static let seeds: [UInt64] =
        if let seed = Self.number("DYNAMO_SOAK_SEED") { [seed] } else {
            Self.number("DYNAMO_SOAK_SECONDS") == nil ? [1, 2] : [1]
        }
}

/// A day compressed: kills, stops, restarts and changes of a mixed deployment, one after another, under steady requests.
///
/// Half a minute over TCP and one over NATS, or as long as `DYNAMO_SOAK_SECONDS` says. `DYNAMO_SOAK_SEED` says in which order things
/// happen: the request plane is NATS with an even one, TCP with an odd one.
@Suite("Soak", .serialized, .timeLimit(.minutes(10 + SoakSettings.seconds / 60)))
struct SoakTests {
    /// Something went wrong, with everything that is needed to see why.
    private struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    private static let clients = 8
    /// Below this a soak is too short for everything to have happened before it counts as warm.
    private static let longEnough = 300

    private let seconds = SoakSettings.seconds

    @Test(arguments: SoakSettings.seeds)
    func `real and own processes behind one port, while everything happens to them`(seed: UInt64) async throws {
        let plane = seed.isMultiple(of: 2) ? "nats" : "tcp"
        Self.say("\(self.seconds) s, DYNAMO_SOAK_SEED=\(seed), request plane \(plane)")
        try await withTemporaryDirectory { directory in
            let manifest = directory.appending(path: "soak.yaml")
            try SoakDay.text(plane: plane).write(to: manifest, atomically: true, encoding: .utf8)
            let (_, exit) = try await Launcher.up(
                [manifest.path()],
                environment: try RealDynamoTests.environment(.v161)
            ) { deployment in
                try await deployment.waitUntilReady(within: .seconds(120))
                let ledger = SoakLedger()
                let day = SoakDay(deployment, ledger, manifest: manifest, plane: plane, seed: seed)
                do { try await self.soak(deployment, day) } catch {
                    throw Failure(description: "\(error)\n\(self.account(day))")
                }
                let (output, exit) = try await deployment.command("stop", "soak")
                #expect(exit == .code(0), "\(output)")
                try await deployment.program.waitForExit()
            }
            #expect(exit == .code(0))
        }
    }

    @Test func `a request may fail by the kill of a process that it may have had, and by nothing else`() {
        let start = ContinuousClock.now
        let unavailable =
            "{\"message\":\"Service temporarily unavailable\",\"type\":\"Service Unavailable\",\"code\":503}"
        func explains(
            _ disturbance: SoakLedger.Disturbance,
            _ answer: SoakLedger.Answer,
            _ text: String = unavailable,
            echoes: Bool = true,
            after seconds: Int = 1
        ) -> Bool {
            let began = start + .seconds(seconds)
            let request = SoakLedger.Request(
                model: SoakClients.Model(name: "m", echoes: echoes),
                streams: false,
                answer: answer,
                text: text,
                began: began,
                ended: began + .milliseconds(100)
            )
            let window = SoakLedger.Window(
                disturbance: disturbance,
                name: "",
                began: start,
                ended: start + .seconds(2)
            )
            return SoakRule.explains(request, window)
        }
        #expect(explains(.killedWorker, .error(503)))
        #expect(!explains(.killedWorker, .error(503), echoes: false), "of the other model")
        #expect(explains(.killedMocker, .errorEvent, echoes: false))
        #expect(!explains(.killedWorker, .error(503), after: -1), "it had ended before")
        #expect(!explains(.killedWorker, .error(503), after: 3), "another one is there")
        #expect(!explains(.killedWorker, .error(503), "{\"code\":\"model_not_ready\"}"))
        #expect(explains(.killedFrontend, .cut) && !explains(.killedWorker, .cut))
        #expect(explains(.killedFrontend, .error(502), "{\"code\":\"backend_failed\"}"))
        #expect(!explains(.killedFrontend, .error(503)))
        for answer in [SoakLedger.Answer.nothing, .late, .wrong] {
            #expect(!SoakLedger.Disturbance.allCases.contains { explains($0, answer) }, "\(answer)")
        }
        for disturbance in [SoakLedger.Disturbance.killedEventServer, .paused, .restarted, .scaled, .applied] {
            #expect(!explains(disturbance, .error(503)) && !explains(disturbance, .cut), "\(disturbance)")
        }
    }

    private func soak(_ deployment: LaunchedDeployment, _ first: SoakDay) async throws {
        var day = first
        let ledger = day.ledger
        day.models = try await SoakClients.models(deployment.url)
        let clients = SoakClients(deployment.url, day.models, ledger)
        let deadline = ContinuousClock.now + .seconds(self.seconds)
        var warm: SoakFigures?
        var end: SoakFigures?
        try await clients.run(Self.clients) {
            while ContinuousClock.now < deadline || warm == nil {
                let began = ContinuousClock.now
                let event = try await day.next()
                let times = [began - ledger.start, ContinuousClock.now - began].map { Int($0 / .milliseconds(100)) }
                Self.say(
                    "\(times[0] / 10) s: \(event.rawValue), \(times[1] / 10).\(times[1] % 10) s, "
                        + "\(ledger.answers[.good] ?? 0) answers, launcher \(SoakFigures.resident(deployment.program.pid) >> 10) KiB"
                )
                guard ledger.offences.isEmpty else { break }
                let isWarm = self.seconds < Self.longEnough || day.decks > 1
                if warm == nil, isWarm { warm = try await self.measure(deployment, clients, day) }
            }
            end = try await self.measure(deployment, clients, day, since: warm)
        }
        Self.say("\(Self.words(ledger.disturbances.map { ($0.key.rawValue, $0.value) }))")
        Self.say("\(Self.words(ledger.answers.map { ("\($0.key)", $0.value) })), longest \(ledger.longest) s")
        for failure in ledger.failures.prefix(60) { Self.say("as it may: \(failure)") }
        Self.say("warm \(warm.map { "\($0)" } ?? "-")")
        Self.say("end \(end.map { "\($0)" } ?? "-")")
        #expect(ledger.offences.isEmpty, "\(self.account(day))")
        #expect((ledger.answers[.good] ?? 0) > self.seconds, "\(self.account(day))")
        if let warm, let end {
            let growth = SoakFigures.growth(warm, end)
            #expect(growth == [], "warm \(warm)\nend \(end)\n\(self.account(day))")
        }
        try await self.expectOrder(deployment, day)
    }

    /// What was done, what became of the requests, and how it is done again.
    private func account(_ day: SoakDay) -> String {
        let ledger = day.ledger
        return """
            again: DYNAMO_SOAK_SEED=\(day.seed) DYNAMO_SOAK_SECONDS=\(self.seconds) Tests/run.sh --filter SoakTests
            what was done:
            \(ledger.events.joined(separator: "\n"))
            requests that ended as they must not:
            \(ledger.offences.joined(separator: "\n"))
            requests that failed as they may:
            \(ledger.failures.joined(separator: "\n"))
            """
    }

    /// At once: whoever waits for the end of an hour wants to see that it goes on.
    private static func say(_ text: String) {
        print("soak: \(text)")
        fflush(nil)
    }

    private static func words(_ counts: [(String, Int)]) -> String {
        counts.sorted { $0.0 < $1.0 }.map { "\($0.1) \($0.0)" }.joined(separator: ", ")
    }

    /// At rest: nobody asks, and no connection is open.
    ///
    /// What has grown since may be on its way out, and is looked at again for a while.
    private func measure(
        _ deployment: LaunchedDeployment,
        _ clients: SoakClients,
        _ day: SoakDay,
        since warm: SoakFigures? = nil
    ) async throws -> SoakFigures {
        try await clients.paused {
            try await eventually(within: .seconds(30), "no connection is open") {
                try await day.client.status().gateway?.connections == 0
            }
            let deadline = ContinuousClock.now + .seconds(15)
            while true {
                let figures = SoakFigures.of(deployment.program.pid, try await day.settle())
                guard let warm, SoakFigures.growth(warm, figures) != [], ContinuousClock.now < deadline else {
                    return figures
                }
                try await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    /// What runs is what the status says, and what discovery says.
    private func expectOrder(_ deployment: LaunchedDeployment, _ day: SoakDay) async throws {
        let status = try await day.settle()
        #expect(status.warnings == [] && status.survivors == [], "\(self.account(day))")
        try await eventually("everything was reaped") { SoakFigures.zombies(of: deployment.program.pid).isEmpty }
        var strays: [String] = []
        do {
            try await eventually("nothing is left of what has ended") {
                strays = SoakFigures.strays(deployment, status)
                return strays.isEmpty
            }
        } catch { throw Failure(description: "\(error): \(strays)") }
        // The models of what was killed are in discovery until its lease has run out.
        var examination = ""
        do {
            try await eventually(within: .seconds(60), "the deployment is in order") {
                examination = try await deployment.command("doctor", "soak").output
                return examination.contains("\n0 errors, ") && !examination.contains("[stale-record]")
            }
        } catch { throw Failure(description: "\(error): \(examination)") }
        // Those that run are there, once.
        let workers = status.replicas.filter { $0.role == .worker }
        let folder = SystemProcesses.environment(of: workers.compactMap(\.pid).first ?? 0)["DYN_FILE_KV"] ?? ""
        var found: [[String]] = []
        do {
            // A record on NATS has no address to look at, so nobody has said above that its lease has run out.
            try await eventually(within: .seconds(30), "each worker is in discovery once, and nobody else is") {
                found = ["instances", "mdc"].map { Self.records("\(folder)/v1/\($0)") }
                return found.allSatisfy { $0.count == workers.count }
            }
        } catch {
            throw Failure(description: "\(error): \(workers.count) workers, \(found)\n\(self.account(day))")
        }
    }

    /// What workers are asked at; routers have such records too.
    private static func records(_ folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter {
            $0.contains("%2Fgenerate%2F") && !$0.contains("%2Frouter%2F")
        }
    }
}
