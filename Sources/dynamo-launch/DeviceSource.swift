import Deployment
import Glibc
import Supervisor
import Synchronization

/// The accelerators that one generation of a deployment holds.
final class DeviceSource: Sendable {
    private struct State: Sendable {
        var machine = MachineDevices(kind: "cuda")
        /// By `process-index`: a plan that is made again is the same.
        var given: [String: [String]] = [:]
        /// The names of what runs, and of what it is being changed to; nil: nothing was planned yet.
        var running: Set<String>?
        var wasPlanned = false
        /// Of the last plan, which may never be made.
        var planned: Set<String> = []
        /// Devices of the generation that runs beside this one.
        var inUse: [String] = []
    }

    private let leases: DeviceLeases
    private let state: Mutex<State> = Mutex(State())

    /// - Parameter deployment: in whose name.
    init(deployment: String) { self.leases = DeviceLeases(deployment: deployment) }

    /// What replicas were given.
    var given: [String: [String]] { self.state.withLock { $0.given } }

    /// What another generation has.
    var inUse: [String] { self.state.withLock { $0.inUse } }

    /// The devices of the machine, as far as a plan has looked.
    var known: KnownDevices { self.state.withLock { $0.machine.known } }

    /// Takes note of what the machine has.
    func see(_ machine: MachineDevices) { self.state.withLock { $0.machine = machine } }

    /// A plan has what its predecessor has, which is gone before, or something else where both run.
    func follow(_ plan: Plan, beside: Bool) {
        guard beside else { return self.keep(plan) }
        self.state.withLock { $0.inUse = plan.replicas.flatMap(\.gpus) }
    }

    /// Leases the devices of a plan; what an earlier plan took that was not made is given back.
    ///
    /// - Throws: `DeviceLeases.Failure` when one cannot be had.
    func take(_ plan: Plan, _ machine: MachineDevices) async throws(DeviceLeases.Failure) {
        let names = Self.names(plan, machine)
        if let running = self.state.withLock({ $0.running }) { self.leases.keep(running.union(names)) }
        try await self.leases.take(names, isShared: plan.gpuSharing == .shared)
        self.state.withLock { state in
            // The first plan is one that is started.
            state.running = state.wasPlanned ? state.running : (state.running ?? []).union(names)
            state.wasPlanned = true
            state.planned = names
            for replica in plan.replicas where !replica.gpus.isEmpty {
                state.given["\(replica.process)-\(replica.index)"] = replica.gpus
            }
        }
    }

    /// What runs goes on with its devices.
    ///
    /// - Parameters:
    ///   - leases: what an earlier launcher has leased for it, and perhaps for more.
    ///   - plan: what runs.
    func adopt(_ leases: [Int32], _ plan: Plan) {
        self.leases.adopt(leases)
        self.state.withLock { state in
            // The plan that is made first is what it may be changed to.
            state.running = self.leases.devices
        }
        self.keep(plan)
    }

    private func keep(_ plan: Plan) {
        self.state.withLock { state in
            for replica in plan.replicas where !replica.gpus.isEmpty {
                state.given["\(replica.process)-\(replica.index)"] = replica.gpus
            }
        }
    }

    /// What was planned last is being made.
    func beginChange() { self.state.withLock { $0.running?.formUnion($0.planned) } }

    /// This is what runs now: nothing else is needed.
    func settle(_ plan: Plan) {
        let names = self.state.withLock { state -> Set<String>? in
            guard state.running != nil else { return nil }
            let names = Self.names(plan, state.machine)
            state.running = names
            return names
        }
        if let names { self.leases.keep(names) }
    }

    /// Further descriptors of the leases of what runs, which are the caller's.
    var copies: [Int32] { self.leases.copies(of: self.state.withLock { $0.running } ?? []) }

    /// Gives everything back.
    func release() { self.leases.release() }

    private static func names(_ plan: Plan, _ machine: MachineDevices) -> Set<String> {
        Set(plan.replicas.flatMap(\.gpus).flatMap { machine.names(of: $0) })
    }
}

extension Preparation {
    /// The accelerators of this machine; nil: no process mentions any.
    func machineDevices() async -> MachineDevices? {
        guard let kind = self.manifest.deviceKind else { return nil }
        return await MachineDevices.survey(kind, environment: self.environment)
    }

    /// What the planner needs to know of them at this moment.
    func deviceFacts(_ machine: MachineDevices?, _ ports: PortSource) -> DeviceFacts {
        guard let machine else { return DeviceFacts(isBinding: ports.isHeld) }
        return DeviceFacts(
            known: machine.known.indexes,
            identifiers: machine.known.identifiers,
            taken: machine.taken(
                // A plan that is only shown may be that of the deployment that runs.
                DeviceLeases.others().filter {
                    ports.isHeld || $0.deployment != self.manifest.name.value || $0.user != getuid()
                },
                isShared: self.manifest.gpuSharing == .shared,
                written: self.manifest.deviceNames
            ),
            inUse: ports.devices.inUse,
            given: ports.devices.given,
            isBinding: ports.isHeld
        )
    }

    /// Leases the devices of a plan.
    ///
    /// - Parameters:
    ///   - plan: that is to be started.
    ///   - machine: what there is.
    ///   - ports: who holds them.
    ///   - mayFail: whether to try again when another launcher was faster.
    /// - Returns: whether it has them.
    /// - Throws: `Failure` when they cannot be had.
    func take(
        _ plan: Plan,
        _ machine: MachineDevices,
        _ ports: PortSource,
        mayFail: Bool
    ) async throws(Failure) -> Bool {
        do throws(DeviceLeases.Failure) { try await ports.devices.take(plan, machine) } catch {
            if case .held = error, mayFail { return false }
            throw Failure(["\(self.path): error: \(error)", "1 error"])
        }
        return true
    }
}
