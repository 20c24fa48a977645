import AsyncHTTPClient
import Deployment
import Foundation
import Glibc
import NIOCore
import NIOHTTP1
import Supervisor
import TestSupport
import Testing

/// What happens to a deployment in a soak: one thing after another, drawn by a seed.
struct SoakDay {
    /// One thing that happens.
    enum Event: String, Sendable, CaseIterable {
        case killWorker, killMocker, killFrontend, killDynamoFrontend, killNATS
        case pause, restartWorker, restartMocker, restartFrontends, scale, apply, killInRestart
    }

    let deployment: LaunchedDeployment
    let client: ControlClient
    let ledger: SoakLedger
    let manifest: URL
    /// The request plane.
    let plane: String
    /// What is served.
    var models: [SoakClients.Model] = []
    let seed: UInt64
    var random: SeededNumbers
    private var deck: [Event] = []
    /// So many decks were played.
    private(set) var decks = 0
    private var rate = 200
    private var serverKilled: ContinuousClock.Instant?

    /// After it is ready again, requests that were on their way may still meet what was killed.
    private static let echo = Duration.seconds(1)
    private static let patience = Duration.seconds(90)

    init(_ deployment: LaunchedDeployment, _ ledger: SoakLedger, manifest: URL, plane: String, seed: UInt64) {
        self.deployment = deployment
        self.client = ControlClient(socket: "\(deployment.directory.path())/dynamo-launch/soak/control.sock")
        self.ledger = ledger
        self.manifest = manifest
        self.plane = plane
        self.seed = seed
        self.random = SeededNumbers(state: seed)
    }

    /// The manifest; each rate makes an argument of the own workers another one.
    static func text(plane: String, rate: Int = 200) -> String {
        let restart = "{initialDelay: 100ms, maxDelay: 1s, maxRestarts: none}"
        // The layers above are about the manifest's model; a frontend must know the other one, too, before it gets requests.
        let probes = "{health: {http: {url: /v1/models, status: 200, contains: \"${MODEL_PATH}\"}}}"
        // Dynamo's frontend takes a request for lost (503) that it has sent to a worker which leaves discovery before it has called home;
        // with a limit it sends it to another worker.
        let frontend = "{module: dynamo.frontend, args: [--migration-limit, 3], probes: \(probes), restart: \(restart)}"
        return """
            name: soak
            model: echo
            planes: {request: \(plane), events: nats-core}
            discovery: file
            infrastructure: {nats: {managed: true}}
            gateway: {hold: {time: 30s}}
            env: {HF_HUB_OFFLINE: 1}
            processes:
              frontend: {builtin: frontend, probes: \(probes), restart: \(restart)}
              dynamo-frontend: \(frontend)
              worker:
                builtin: worker
                replicas: 2
                args: [--engine, echo, --model-name, echo, --component, ours, --rate, \(rate)]
                restart: \(restart)
              mocker:
                module: dynamo.mocker
                replicas: 2
                args: [--model-path, "${MODEL_PATH}", --speedup-ratio, 10]
                restart: \(restart)
            """
    }

    /// Does the next thing, and waits until all is as it should be.
    mutating func next() async throws -> Event {
        let event = self.draw()
        switch event {
        case .killWorker: try await self.kill("worker", .killedWorker)
        case .killMocker: try await self.kill("mocker", .killedMocker)
        case .killFrontend: try await self.kill("frontend", .killedFrontend)
        case .killDynamoFrontend: try await self.kill("dynamo-frontend", .killedFrontend)
        case .killNATS:
            try await self.kill("nats", self.plane == "nats" ? .killedRequestServer : .killedEventServer)
            self.serverKilled = .now
        case .pause: try await self.pause()
        case .restartWorker: try await self.restart(["worker"])
        case .restartMocker: try await self.restart(["mocker"])
        case .restartFrontends: try await self.restart(["frontend", "dynamo-frontend"])
        case .scale:
            try await self.scale(3)
            try await self.scale(2)
        case .apply: try await self.apply()
        case .killInRestart:
            var other = self
            let one = self
            async let restarted: Void = one.restart(["worker"], mayFail: true)
            try await other.kill("mocker", .killedMocker)
            try await restarted
            self.random = other.random
        }
        try await self.settle()
        return event
    }

    private mutating func draw() -> Event {
        if self.deck.isEmpty {
            self.deck = Event.allCases.shuffled(using: &self.random)
            self.decks += 1
        }
        let event = self.deck.removeLast()
        guard event == .killNATS else { return event }
        // The launcher gives a server of its own up that ends five times before it has been there for a minute each time.
        let isFresh = self.serverKilled.map { ContinuousClock.now - $0 < .seconds(70) } ?? false
        return isFresh ? self.draw() : event
    }

    /// Waits until everything is ready.
    @discardableResult
    func settle() async throws -> DeploymentStatus {
        var last: DeploymentStatus?
        do {
            try await eventually(within: Self.patience, "everything is ready") {
                last = try? await self.client.status()
                guard let last else { return false }
                return last.state == .ready && last.replicas.allSatisfy { $0.state == .ready }
            }
        } catch {
            let states = last?.replicas.map { "\($0.name) \($0.state) \($0.waitingFor ?? "")" } ?? []
            throw ConditionNotMet(what: "everything is ready: \(states)", limit: Self.patience)
        }
        return try #require(last)
    }

    // MARK: Things

    private mutating func victim(_ process: String) async throws -> (name: String, pid: Int32) {
        let ready = try await self.client.status().replicas.filter {
            $0.process == process && $0.pid != nil && $0.state == .ready
        }
        let one = try #require(ready.randomElement(using: &self.random), "no \(process) is ready")
        return (one.name, try #require(one.pid))
    }

    private mutating func kill(_ process: String, _ disturbance: SoakLedger.Disturbance) async throws {
        let (name, pid) = try await self.victim(process)
        let window = self.ledger.begin(disturbance, "killed \(name)")
        Glibc.kill(pid, SIGKILL)
        try await eventually(within: Self.patience, "\(name) has another process") {
            let replica = try await self.client.status().replicas.first { $0.name == name }
            return replica?.state == .ready && replica?.pid != pid
        }
        try await self.settle()
        if disturbance == .killedRequestServer { try await self.waitUntilReconnected() }
        try await Task.sleep(for: Self.echo)
        self.ledger.end(window)
    }

    /// Waits until requests to every model are answered again, by whichever frontend and worker: each connects to the server by itself.
    private func waitUntilReconnected() async throws {
        try await SoakClients.withClient { client in
            try await eventually(within: .seconds(30), "all requests are answered again") {
                // So many that each frontend is asked often: Dynamo's leaves a worker out for some seconds that it could not reach.
                for index in 0..<64 {
                    var request = HTTPClientRequest(url: "\(self.deployment.url)/v1/chat/completions")
                    request.method = .POST
                    request.headers.add(name: "content-type", value: "application/json")
                    let model = self.models[index % self.models.count].name
                    request.body = .bytes(ByteBuffer(string: try Chat.body(model: model, tokens: 2)))
                    let answer = try await client.execute(request, timeout: .seconds(30))
                    _ = try await answer.body.collect(upTo: 1 << 20)
                    guard answer.status == .ok else { return false }
                }
                return true
            }
        }
    }

    private mutating func pause() async throws {
        let process =
            ["worker", "mocker", "frontend", "dynamo-frontend"].randomElement(using: &self.random) ?? "worker"
        let (name, pid) = try await self.victim(process)
        let window = self.ledger.begin(.paused, "paused \(name)")
        Glibc.kill(pid, SIGSTOP)
        try await Task.sleep(for: .seconds(1))
        Glibc.kill(pid, SIGCONT)
        try await self.settle()
        self.ledger.end(window)
    }

    private func restart(_ processes: [String], mayFail: Bool = false) async throws {
        let window = self.ledger.begin(.restarted, "restarted \(processes.joined(separator: ", "))")
        var last: RolloutProgress?
        try await self.client.obey(.restart, processes) { last = $0 }
        if !mayFail { #expect(last?.phase == .done, "restart \(processes): \(last.map { "\($0)" } ?? "nothing")") }
        self.ledger.end(window)
    }

    private func scale(_ count: Int) async throws {
        let window = self.ledger.begin(.scaled, "scaled to \(count)")
        var last: RolloutProgress?
        try await self.client.scale(["worker": count, "mocker": count], dryRun: false) { _ in
        } receive: {
            last = $0
        }
        #expect(last?.phase == .done, "scale: \(last.map { "\($0)" } ?? "nothing")")
        self.ledger.end(window)
    }

    private mutating func apply() async throws {
        self.rate += 1
        try Self.text(plane: self.plane, rate: self.rate).write(to: self.manifest, atomically: true, encoding: .utf8)
        let window = self.ledger.begin(.applied, "applied another argument of worker")
        var last: RolloutProgress?
        var change: PlanChange?
        try await self.client.apply(dryRun: false) {
            change = $0
        } receive: {
            last = $0
        }
        #expect(change?.changed.map(\.name).sorted() == ["worker-0", "worker-1"], "\(String(describing: change))")
        #expect(last?.phase == .done, "apply: \(last.map { "\($0)" } ?? "nothing")")
        self.ledger.end(window)
    }
}
