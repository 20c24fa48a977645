package import Deployment

/// What the control interface, and whoever moves the deployment from one generation to the next, asks of a generation.
extension Supervisor {
    /// The status.
    ///
    /// - Parameters:
    ///   - moment: when it is answered.
    ///   - limit: the longest wait; the status is then as it is.
    /// - Returns: it; nil when the generation has ended.
    func status(_ moment: StatusQuery.Moment, limit: Duration?) async -> DeploymentStatus? {
        var status = await StatusQuery.ask(self.sender, moment, limit: limit)
        // Beside the loop: who serves the port may be another process, and slow to answer.
        if status != nil { status?.gateway = await self.publicPort?.report }
        return status
    }

    /// As it is at the moment, without what was removed.
    package var activePlan: Plan { self.shared.active }

    /// Whether a restart or a change is under way.
    package var isChanging: Bool { self.shared.isChanging }

    /// What a plan needs that runs elsewhere and does not answer, in words; nil when all does.
    package static func externalTrouble(_ plan: Plan, _ requestPlane: @escaping RequestPlaneProbe) async -> String? {
        let probes = ProbeRunner(namespace: plan.namespace, requestPlane: requestPlane)
        return await ExternalServiceCheck(services: plan.externalServices, probes: probes).failure()
    }

    /// The status at this moment.
    ///
    /// - Returns: it; nil when the generation has ended.
    package func status() async -> DeploymentStatus? { await self.status(.now, limit: nil) }

    /// Waits until the generation is ready or has failed, but not for ever.
    package func waitUntilSettled(atMost limit: Duration) async { _ = await self.status(.settled, limit: limit) }

    /// Restarts, stops or starts processes.
    ///
    /// - Parameters:
    ///   - order: which of the three.
    ///   - names: of processes or replicas.
    ///   - isDryRun: only says what would be done.
    /// - Returns: what comes of it, and how it goes on.
    /// - Throws: `RolloutRefusal` when it was not begun.
    func obey(
        _ order: ProcessOrder,
        _ names: [String],
        isDryRun: Bool
    ) async throws(RolloutRefusal) -> (OrderOutline, AsyncStream<RolloutProgress>?) {
        let answer = await withCheckedContinuation { continuation in
            let request = OrderRequest(order: order, names: names, isDryRun: isDryRun) {
                continuation.resume(returning: $0)
            }
            if case .terminated = self.sender.yield(.order(request)) {
                continuation.resume(returning: .failure(.stopping))
            }
        }
        return try answer.get()
    }

    /// Sends processes a signal, and leaves them to themselves.
    ///
    /// - Parameters:
    ///   - signal: its number.
    ///   - names: of processes or replicas.
    ///   - isDryRun: only says who would get it.
    /// - Returns: who got it.
    /// - Throws: `RolloutRefusal` when a name is unknown or the deployment ends.
    func send(
        _ signal: Int32,
        to names: [String],
        isDryRun: Bool
    ) async throws(RolloutRefusal) -> SignalReport {
        let answer = await withCheckedContinuation { continuation in
            let request = SignalRequest(signal: signal, names: names, isDryRun: isDryRun) {
                continuation.resume(returning: $0)
            }
            if case .terminated = self.sender.yield(.signal(request)) {
                continuation.resume(returning: .failure(.stopping))
            }
        }
        return try answer.get()
    }

    /// Changes how many replicas processes have.
    ///
    /// - Parameters:
    ///   - counts: by the names of processes.
    ///   - isDryRun: only says what would be done.
    /// - Returns: as ``apply(_:isDryRun:)``.
    /// - Throws: `RolloutRefusal` when nothing is changed, with the reason.
    func scale(
        _ counts: [String: Int],
        isDryRun: Bool
    ) async throws(RolloutRefusal) -> (PlanChange, AsyncStream<RolloutProgress>?) {
        let known = self.shared.active.replicas
        for name in counts.keys.sorted() where !known.contains(where: { $0.process == name }) {
            // One that has no replica now is known to the manifest only.
            guard let process = known.first(where: { $0.name == name })?.process else { continue }
            throw RolloutRefusal(
                cause: .unknownProcess,
                description: "'\(name)' is one replica; its process is '\(process)'"
            )
        }
        let frontends = Set(known.filter { $0.role == .frontend }.map(\.process))
        if !frontends.isEmpty, frontends.allSatisfy({ counts[$0] == 0 }) {
            let names = frontends.sorted().joined(separator: " --process ")
            throw RolloutRefusal(
                cause: .conflict,
                description:
                    "the public port needs a frontend; to have none for a while: dynamo-launch stop --process \(names)"
            )
        }
        if known.allSatisfy({ counts[$0.process] == 0 }) {
            throw RolloutRefusal(
                cause: .conflict,
                description: "nothing would run any more; to end the deployment: dynamo-launch stop"
            )
        }
        return try await self.apply(counts: counts, isDryRun: isDryRun)
    }

    /// Makes the deployment match its manifest as it is now.
    ///
    /// - Parameters:
    ///   - counts: if there are any, the manifest stays as it was read, and processes get so many replicas.
    ///   - isDryRun: only says what would be done.
    /// - Returns: what is changed, and how it goes on; without that there was nothing to change.
    /// - Throws: `RolloutRefusal` when nothing is changed, with the reason.
    package func apply(
        counts: [String: Int] = [:],
        isDryRun: Bool = false
    ) async throws(RolloutRefusal) -> (
        PlanChange, AsyncStream<RolloutProgress>?
    ) {
        guard let replan = self.replan else {
            throw RolloutRefusal(
                cause: .conflict,
                description: "this deployment has no manifest that could be read again"
            )
        }
        let plan: Plan
        do throws(ReplanFailure) { plan = try await replan(counts) } catch {
            throw RolloutRefusal(cause: .badManifest, description: "\(error.description)\nnothing was changed")
        }
        return try await self.apply(plan, isDryRun: isDryRun)
    }

    /// Makes the generation match another plan of it.
    ///
    /// - Parameters:
    ///   - plan: what shall run.
    ///   - isDryRun: only says what would be done.
    /// - Returns: as ``apply(isDryRun:)``.
    /// - Throws: `RolloutRefusal` when nothing is changed, with the reason.
    package func apply(
        _ plan: Plan,
        isDryRun: Bool = false
    ) async throws(RolloutRefusal) -> (
        PlanChange, AsyncStream<RolloutProgress>?
    ) {
        let answer = await withCheckedContinuation { continuation in
            let request = ApplyRequest(plan: plan, isDryRun: isDryRun) { continuation.resume(returning: $0) }
            if case .terminated = self.sender.yield(.apply(request)) {
                continuation.resume(returning: .failure(.stopping))
            }
        }
        return try answer.get()
    }

    /// Waits for the end of the generation, once that was asked for, or answers at once.
    ///
    /// - Parameters:
    ///   - waits: whether the status is the one at the end.
    ///   - request: asks for the end.
    /// - Returns: the status; nil when it has ended.
    func stop(waits: Bool, _ request: () -> Void) async -> DeploymentStatus? {
        await withCheckedContinuation { continuation in
            let query = StatusQuery(moment: waits ? .ended : .now, limit: nil) { continuation.resume(returning: $0) }
            // Who waits for the end asks for it before it can come.
            if !waits { request() }
            if case .terminated = self.sender.yield(.status(query)) { continuation.resume(returning: nil) }
            if waits { request() }
        }
    }
}
