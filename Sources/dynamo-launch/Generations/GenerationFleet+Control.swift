import Deployment
import FoundationEssentials
import Gateway
import Glibc
import Logging
import Rollout
import Supervisor
import Synchronization
import Systemd

/// The generations as a migration sees them.
extension GenerationFleet: GenerationControl {
    func plan(
        _ request: MigrationRequest,
        generation: Int,
        isOutline: Bool
    ) async throws(MigrationRefusal) -> PlannedMigration {
        guard let running = self.supervisor, let source = self.sources.source(of: running.plan.generation) else {
            throw MigrationRefusal(cause: .conflict, description: "the deployment is not running")
        }
        guard self.port != nil else {
            throw MigrationRefusal(
                cause: .conflict,
                description:
                    "clients reach its frontend itself, not the launcher's gateway, so nothing can move their requests; stop the deployment, "
                    + "take 'gateway: false' (or the frontend's own public port) out of the manifest, and start it again; nothing was changed"
            )
        }
        guard !self.isLost(running.plan.generation) else {
            throw MigrationRefusal(cause: .conflict, description: "the deployment has failed and is being stopped")
        }
        guard isOutline || !running.isChanging else {
            throw MigrationRefusal(
                cause: .conflict,
                description:
                    "a restart or change is under way; ask again when it is done ('dynamo-launch status' shows the processes); nothing was changed"
            )
        }
        var from = running.activePlan
        from.manifestPath = source.manifestPath
        let (target, ports, planned) = try await self.plan(request, from, source, generation, isOutline: isOutline)
        var to = planned
        to.manifestPath = target.manifestPath
        do throws(MigrationRefusal) {
            guard !Self.isSame(source, target) || from.planes != to.planes else {
                throw MigrationRefusal(
                    cause: .conflict,
                    description:
                        "generation \(from.generation) runs on the \(from.planes.request.rawValue) plane by this manifest already; nothing was changed"
                )
            }
            let settings = try Self.settings(to.migration, request)
            let plan: MigrationPlan
            do throws(MigrationPlan.Refusal) {
                plan = try MigrationPlan(
                    from: MigrationPlan.Side(number: from.generation, plan: from),
                    to: MigrationPlan.Side(number: to.generation, plan: to),
                    settings: settings,
                    confirms: request.confirm,
                    devices: ports.devices.known
                )
            } catch {
                throw MigrationRefusal(cause: .conflict, description: "\(error)\nnothing was changed")
            }
            // A generation that was made from what the file says now is what `up` with this file means.
            var base = self.sources.base(of: from.generation)
            if base.manifestPath == target.manifestPath { base.manifestText = target.manifestText }
            if !isOutline { self.sources.add(generation, target, base: base, ports) }
            return PlannedMigration(
                from: from,
                to: to,
                fromSource: source,
                source: target,
                base: base,
                settings: settings,
                asksPerson: request.confirm,
                plan: plan
            )
        } catch {
            ports.release()
            throw error
        }
    }

    private func plan(
        _ request: MigrationRequest,
        _ from: Plan,
        _ source: GenerationSource,
        _ generation: Int,
        isOutline: Bool
    ) async throws(MigrationRefusal) -> (GenerationSource, PortSource, Plan) {
        var target = source
        do throws(Preparation.Failure) {
            if let path = request.manifest {
                target = GenerationSource(
                    manifestPath: path,
                    manifestText: try GenerationSources.read(path),
                    arguments: source.arguments
                )
            } else if let path = source.manifestPath, let text = try? GenerationSources.read(path) {
                // As it is now, if it is still there.
                target.manifestText = text
            }
            target.requestPlane = request.requestPlane ?? target.requestPlane
            target.overrides += request.set
            var preparation = try Preparation(target, generation: generation)
            preparation.isMigration = true
            let ports = preparation.ports(isOutline ? .preview : .held)
            let strategy = request.strategy ?? preparation.manifest.migration.strategy
            ports.follow(from, beside: strategy == .blueGreen)
            do throws(Preparation.Failure) {
                var plan = try await preparation.plan(ports: ports)
                plan.publicAddress = self.address ?? plan.publicAddress
                return (target, ports, plan)
            } catch {
                ports.release()
                throw error
            }
        } catch {
            throw MigrationRefusal(
                cause: .badManifest,
                description: error.lines.joined(separator: "\n") + "\nnothing was changed"
            )
        }
    }

    /// Whether two sources differ in nothing but how the plane is said.
    private static func isSame(_ source: GenerationSource, _ target: GenerationSource) -> Bool {
        var target = target
        target.requestPlane = source.requestPlane
        return source == target
    }

    /// What the manifest says, and what the command line says instead.
    private static func settings(
        _ written: MigrationSettings,
        _ request: MigrationRequest
    ) throws(MigrationRefusal) -> MigrationSettings {
        var settings = written
        settings.strategy = request.strategy ?? settings.strategy
        settings.steps = request.steps ?? settings.steps
        settings.observe = request.observe ?? settings.observe
        settings.rollbackWindow = request.rollbackWindow ?? settings.rollbackWindow
        guard settings.steps.last == 100, zip(settings.steps, settings.steps.dropFirst()).allSatisfy({ $0 < $1 }),
            settings.steps.allSatisfy({ (1...100).contains($0) })
        else {
            throw MigrationRefusal(
                cause: .badManifest,
                description:
                    "the steps \(settings.steps) are not rising percentages that end with 100; nothing was changed"
            )
        }
        guard (0...1e6).contains(settings.observe), (0...1e7).contains(settings.rollbackWindow) else {
            throw MigrationRefusal(
                cause: .badManifest,
                description: "'observe' and 'rollbackWindow' are numbers of seconds from 0 on; nothing was changed"
            )
        }
        return settings
    }

    func setMigrating(_ isMigrating: Bool) {
        let (active, running) = self.state.withLock { state in
            state.isMigrating = isMigrating
            if isMigrating {
                // Of earlier migrations.
                state.outcomes = state.outcomes.filter { $0.key == state.active }
                state.retiring = []
            }
            return (state.active, Set(state.running.keys))
        }
        self.host.setMigrating(isMigrating)
        self.port?.setMigrating(isMigrating)
        guard !isMigrating else { return }
        // One that still runs is being stopped with the deployment, and answers what it has.
        for generation in self.sources.generations where generation != active && !running.contains(generation) {
            self.sources.remove(generation)
            GenerationFolders.forget(generation, of: self.directories, active: active)
            self.port?.remove(generation)
        }
        self.settle()
    }

    func check(_ plan: Plan) async throws(MigrationFailure) {
        let logger = Logger(label: ForegroundOutput.name) { _ in LauncherLogHandler(output: self.output) }
        let probe = PlaneProbe(plan: plan, logger: logger)
        if let trouble = await Supervisor.externalTrouble(plan, probe.probe) { throw MigrationFailure(trouble) }
    }

    func start(_ plan: Plan) async throws {
        guard let generation = self.launch(plan) else { throw MigrationFailure("the deployment is being stopped") }
        try await generation.life.waitUntilReady()
    }

    func takeOver(_ plan: Plan) async throws {
        guard let generation = self.state.withLock({ $0.running[plan.generation] }) else {
            throw MigrationFailure("generation \(plan.generation) does not run")
        }
        try await generation.life.waitUntilReady()
    }

    func apply(_ plan: Plan) async throws {
        guard let generation = self.state.withLock({ $0.running[plan.generation] }) else {
            throw MigrationFailure("generation \(plan.generation) does not run")
        }
        let change: @Sendable () async -> MigrationFailure? = {
            do throws(RolloutRefusal) {
                guard let progress = try await generation.supervisor.apply(plan).1 else { return nil }
                var last: RolloutProgress?
                for await step in progress { last = step }
                guard last?.phase == .done else {
                    return MigrationFailure(last?.reason ?? "generation \(plan.generation) ended while it was changed")
                }
                return nil
            } catch { return MigrationFailure("\(error)") }
        }
        // What a migration goes back to is not left half changed: that would be in the way of the change that takes it back. The
        // other generation is stopped then anyway, and may take long to become ready.
        let isKept = self.state.withLock { $0.active == plan.generation }
        let failure = isKept ? await Task { await change() }.value : await change()
        try Task.checkCancellation()
        if let failure { throw failure }
    }

    func isLost(_ generation: Int) -> Bool { self.state.withLock { $0.lost.contains(generation) } }

    func stop(_ generation: Int) async -> [String] {
        let running = self.state.withLock { state in
            state.retiring.insert(generation)
            return state.running[generation]
        }
        guard let running else { return [] }
        running.life.retire()
        self.port?.retire(generation)
        running.supervisor.retire()
        await running.life.waitUntilEnded()
        return self.state.withLock { $0.outcomes[generation] }?.survivors.map(\.description) ?? []
    }

    func contradictions(_ old: Plan, _ new: Plan) async -> [String] {
        let logger = Logger(label: ForegroundOutput.name) { _ in LauncherLogHandler(output: self.output) }
        let checks = (RegistrationCheck(plan: old, logger: logger), RegistrationCheck(plan: new, logger: logger))
        let strangers = await checks.0.strangers(from: checks.1) + checks.1.strangers(from: checks.0)
        return await checks.1.mismatches(at: .everythingReady) + strangers
    }

    func activate(_ generation: Int) {
        let running = self.state.withLock { state -> LaunchedGeneration? in
            guard state.active != generation else { return nil }
            state.active = generation
            return state.running[generation]
        }
        guard let running else { return }
        self.host.setCurrent(running.supervisor)
        self.service.replaced(by: running.supervisor.activePlan)
    }

    func giveUp(_ reason: String) {
        let left = self.state.withLock { state in
            state.givenUp = "the migration failed: \(reason)"
            return state.running.values.map(\.self)
        }
        self.port?.prepareToClose()
        self.service.observe(.failed(reason))
        self.service.observe(.stopping(now: false))
        for generation in left { generation.supervisor.requestStop(now: false) }
    }

    func setShares(_ shares: [Int: Int]) { self.port?.setShares(shares) }

    func waitUntilIdle(_ generation: Int, within limit: Duration) async -> Int {
        guard let port = self.port, await !port.waitUntilIdle(generation, within: limit) else { return 0 }
        return await port.figures(of: generation).inFlight
    }

    func figures(of generation: Int) async -> TrafficFigures {
        await self.port?.figures(of: generation) ?? TrafficFigures()
    }

    func readiness(of generation: Int) -> (ready: Int, replicas: Int) {
        guard let running = self.state.withLock({ $0.running[generation] }) else { return (0, 0) }
        return (running.life.readyReplicas, running.supervisor.activePlan.replicas.count)
    }

    func conditions(of generation: Int) async -> [ProcessCondition] {
        guard let running = self.state.withLock({ $0.running[generation] }),
            let status = await running.supervisor.status()
        else { return [] }
        return status.replicas.map { replica in
            let waiting = replica.waitingFor.map { ", waits for \($0)" } ?? ""
            let exit = replica.lastExit.map { ", ended last with \($0)" } ?? ""
            return ProcessCondition(
                name: ReplicaLabel.text(replica.name, generation: generation),
                isReady: replica.state == .ready,
                restarts: replica.restarts,
                words: "\(replica.state.rawValue)\(waiting)\(exit); log: \(replica.logFile)"
            )
        }
    }

    func say(_ text: String, isWarning: Bool) { self.output.say(text, as: isWarning ? .warning : .info) }
}
