internal import Deployment

/// Leased ports that turn out to be somebody else's get other numbers.
///
/// A lease keeps launchers apart; another program can still bind the port before the replica does.
extension SupervisorLoop {
    /// So many times in a row a replica gets other ports: whoever takes them again and again is after them.
    static let renewalLimit = 5

    /// Ports that a run could not have.
    struct Renewal {
        let replica: Int
        let run: Int
        let taken: [TakenPort]
    }

    /// Who is in the way of replicas, beside what gives these ports back before they come.
    func takenPorts(of replicas: [ReplicaPlan], freeing back: Set<Int> = []) -> [TakenPort] {
        let ports = replicas.flatMap { replica in replica.ports.map { (replica, $0) } }
        guard !ports.isEmpty else { return [] }
        let listeners = PortListeners()
        return ports.compactMap { replica, port in
            guard !self.held.ports.contains(port.port),
                let number = port.numbers.first(where: { !back.contains($0) && listeners.isTaken($0) })
            else { return nil }
            return TakenPort(
                replica: replica.name,
                port: port,
                number: number,
                origin: replica.origin,
                holder: listeners.holder(of: number)
            )
        }
    }

    /// Whether replicas can get other ports in the place of these.
    func canRenew(_ taken: [TakenPort]) -> Bool { self.renewPorts != nil && taken.allSatisfy(\.port.leased) }

    /// Asks for other ports, unless there were enough; the answer is an event.
    ///
    /// - Returns: whether it did.
    func renew(_ taken: [TakenPort], of index: Int, run: Int, in group: inout DiscardingTaskGroup) -> Bool {
        let replica = self.machine.replicas[index]
        guard self.canRenew(taken), !taken.isEmpty, !self.machine.isStopping, replica.renewals < Self.renewalLimit,
            replica.plan.restart.condition != .never
        else { return false }
        // A plan is made for one replica at a time: in one with the new ports of two, each would be a change under way for the other.
        self.renewals.append(Renewal(replica: index, run: run, taken: taken))
        if self.renewals.count == 1 { self.askForPorts(in: &group) }
        return true
    }

    /// Asks for the ports of the renewal that is first.
    private func askForPorts(in group: inout DiscardingTaskGroup) {
        guard let renewPorts = self.renewPorts, let renewal = self.renewals.first else { return }
        let (index, run, taken) = (renewal.replica, renewal.run, renewal.taken)
        let replica = self.machine.replicas[index]
        let renewals = taken.map {
            PortRenewal(
                process: replica.plan.process,
                index: replica.plan.index,
                name: $0.port.name,
                port: $0.port.port
            )
        }
        let sender = self.sender
        group.addTask {
            let result = await { () async -> Result<Plan, ReplanFailure> in
                do throws(ReplanFailure) { return .success(try await renewPorts(renewals)) } catch {
                    return .failure(error)
                }
            }()
            sender.yield(.portsRenewed(replica: index, run: run, taken, result))
        }
    }

    /// A run has ended, and its output was read.
    ///
    /// - Parameters:
    ///   - index: the replica.
    ///   - run: its run.
    ///   - isUnasked: whether nobody asked it to end.
    ///   - group: for what takes a while.
    /// - Returns: whether other ports were asked for.
    func renewAfterExit(_ index: Int, run: Int, isUnasked: Bool, in group: inout DiscardingTaskGroup) -> Bool {
        let replica = self.plan.replicas[index]
        guard isUnasked, !self.options.exitOnFirst, !self.machine.isStopping else { return false }
        let lines = self.pump.lines(of: index, since: self.linesBefore[index] ?? 0)
        let suspects = Set(AddressInUse.ports(in: lines, of: replica.ports.flatMap(\.numbers)))
        guard !suspects.isEmpty else { return false }
        let listeners = PortListeners()
        let taken = replica.ports.compactMap { port -> TakenPort? in
            guard !self.held.ports.contains(port.port) else { return nil }
            let number = port.numbers.first {
                // Bound is enough: not everybody listens at once.
                suspects.contains($0) && (listeners.isTaken($0) || !PortLeases.canBind($0))
            }
            guard let number else { return nil }
            return TakenPort(
                replica: replica.name,
                port: port,
                number: number,
                origin: replica.origin,
                holder: listeners.holder(of: number),
                isListening: listeners.isTaken(number)
            )
        }
        for port in taken where !port.port.leased { self.warn(port.fixedWords) }
        return self.renew(taken.filter(\.port.leased), of: index, run: run, in: &group)
    }

    func portsRenewed(
        _ index: Int,
        run: Int,
        _ taken: [TakenPort],
        _ result: Result<Plan, ReplanFailure>,
        in group: inout DiscardingTaskGroup
    ) {
        defer {
            self.renewals.removeFirst()
            self.askForPorts(in: &group)
        }
        let old = self.machine.replicas[index].plan
        // What was not started has yet to be cleared; what has ended is.
        let hasEnded = if case .clearing = self.machine.replicas[index].state { true } else { false }
        let problem: String
        switch result {
        case .failure(let failure): problem = failure.description
        case .success(let made):
            let current = self.machine.activePlan
            let plan = PlanChange.naming(made, after: current)
            if let new = plan.replicas.first(where: { $0.name == old.name }),
                let others = self.followers(of: old.name, plan, current)
            {
                let words = taken.compactMap { port in
                    new.ports.first { $0.name == port.port.name }.map { port.words(renewed: $0.port) }
                }
                let reason = words.joined(separator: "; ")
                self.keepLeases()
                self.feed(.portsRenewed(replica: index, run: run, new, others: others, reason: reason), in: &group)
                if hasEnded { self.finishRun(index, run: run, in: &group) }
                return
            }
            problem = "processes that run, or clients, were told this one"
        }
        let reason = taken.map(\.words).joined(separator: "; ")
        self.warn("\(reason) (it cannot get another one: \(problem))")
        // One that was not started yet; an exit is decided upon as any other.
        self.feed(.notStarted(replica: index, run: run, reason: reason, permanent: run == 1), in: &group)
        if hasEnded { self.finishRun(index, run: run, in: &group) }
    }

    /// Who else is another with the new ports: only what was never started can simply be told.
    ///
    /// - Returns: their plans; nil when one of them runs, or clients know the port.
    private func followers(of name: String, _ plan: Plan, _ current: Plan) -> [Int: ReplicaPlan]? {
        guard plan.publicAddress == current.publicAddress else { return nil }
        var others: [Int: ReplicaPlan] = [:]
        // What a change has yet to get to becomes so by it.
        let change = PlanChange(from: self.machine.rollout?.target ?? current, to: plan)
        let changed = Set(change.changed.map(\.name)).subtracting([name])
        for replica in plan.replicas where changed.contains(replica.name) {
            guard
                let index = self.machine.replicas.firstIndex(where: { $0.plan.name == replica.name && !$0.isRetired })
            else { continue }
            guard self.machine.replicas[index].isWaiting else { return nil }
            others[index] = replica
        }
        return others
    }
}
