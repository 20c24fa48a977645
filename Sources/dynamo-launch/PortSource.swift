import Deployment
import Supervisor
import Synchronization

/// Gives out ports and devices, the same ones when asked again for the same purpose.
final class PortSource: Sendable {
    private let leases: PortLeases
    /// The accelerators.
    let devices: DeviceSource
    let isHeld: Bool
    private let given: Mutex<[String: Int]> = Mutex([:])
    /// Ports that others have taken.
    private let lost: Mutex<Set<Int>> = Mutex([])
    /// What preflights of this start gave: a change of the manifest does not run them again, or every process would be another.
    private let preflights: Mutex<[[String]: String]> = Mutex([:])
    private let kept: Mutex<[String: String]?> = Mutex(nil)

    /// - Parameters:
    ///   - mode: whether what is given out is kept from others.
    ///   - deployment: in whose name.
    ///   - generation: of it.
    init(_ mode: Preparation.Leases, deployment: String, generation: Int) {
        self.leases = PortLeases(holder: generation == 1 ? deployment : "\(deployment)@\(generation)")
        self.devices = DeviceSource(deployment: deployment)
        self.isHeld = mode == .held
    }

    /// What is passed on of the environment of the deployment's start; nil: of this launcher's own.
    var inherited: [String: String]? { self.kept.withLock { $0 } }

    /// The port is to be this one, whoever holds it: clients know it.
    func give(_ port: Int, for process: String, _ name: String) {
        self.given.withLock { $0["\(process)-0/\(name)"] = port }
    }

    /// What is planned takes the place of what runs, with its public port and its devices.
    ///
    /// - Parameters:
    ///   - plan: what runs.
    ///   - beside: whether it goes on meanwhile, with its devices.
    func follow(_ plan: Plan, beside: Bool) {
        self.devices.follow(plan, beside: beside)
        // A port that the launcher chose stays the one that clients know.
        self.give(plan.publicAddress.port, for: GatewayPlan.name, "http")
    }

    /// These are somebody else's: who asks for them gets others, and nobody gets these.
    func forget(_ renewals: [PortRenewal]) {
        self.given.withLock { given in
            for renewal in renewals {
                let name = "\(renewal.process)-\(renewal.index)/\(renewal.name)"
                guard given[name] == renewal.port else { continue }
                given[name] = nil
            }
        }
        self.lost.withLock { $0.formUnion(renewals.map(\.port)) }
    }

    /// What runs goes on with its ports and devices, and with what its start had.
    ///
    /// - Parameter orphans: what runs.
    func adopt(_ orphans: Orphans) {
        let leases = orphans.copyLeases()
        self.devices.adopt(leases, orphans.plan)
        self.leases.adopt(leases)
        self.keep(orphans.plan)
    }

    /// What an earlier launcher has leased, and is not needed, is given back.
    ///
    /// - Parameters:
    ///   - plan: what runs.
    ///   - isOutdated: whether it is changed soon, and its devices are given back then.
    func settle(_ plan: Plan, isOutdated: Bool) {
        self.leases.discardInherited()
        if !isOutdated { self.devices.settle(plan) }
    }

    private func keep(_ plan: Plan) {
        self.given.withLock { given in
            for replica in plan.replicas {
                for port in replica.ports where port.leased {
                    given["\(replica.process)-\(replica.index)/\(port.name)"] = port.port
                    if self.isHeld { self.leases.takeBack(port.numbers) }
                }
            }
            if plan.gateway != nil {
                let port = plan.publicAddress.port
                given["\(GatewayPlan.name)-0/http"] = port
                self.leases.keepInherited(port..<(port + 1))
            }
        }
        let variables = plan.replicas.flatMap(\.environment).filter { $0.source == .inherited }
        self.kept.withLock { $0 = Dictionary(variables.map { ($0.name, $0.value) }) { first, _ in first } }
        for preflight in plan.given?.preflights ?? [] { self.setPreflight(preflight.command, preflight.value) }
    }

    var preflightValues: [StartValues.Preflight] {
        self.preflights.withLock { known in
            known.map { StartValues.Preflight(command: $0, value: $1) }
                .sorted { $0.command.lexicographicallyPrecedes($1.command) }
        }
    }

    func preflight(_ command: [String]) -> String? { self.preflights.withLock { $0[command] } }

    func setPreflight(_ command: [String], _ value: String) { self.preflights.withLock { $0[command] = value } }

    /// Further descriptors of the leases of what runs, which are the caller's.
    var copies: [Int32] { self.leases.copies + self.devices.copies }

    /// Gives everything back: a lease that stays costs a port for as long as the launcher runs.
    func release() {
        self.leases.release()
        self.devices.release()
    }

    func port(_ request: PortRequest) throws -> Int {
        let name = "\(request.process)-\(request.index)/\(request.name)"
        return try self.given.withLock { try self.port(request, name, &$0) }
    }

    private func port(_ request: PortRequest, _ name: String, _ given: inout [String: Int]) throws -> Int {
        if let port = given[name] {
            // With those that are counted up from it.
            self.leases.keepInherited(port..<(port + max(1, request.count)))
            return port
        }
        let wanted = PortLeases.Request(
            name: name,
            kind: request.name == "system" ? .system : .general,
            count: request.count
        )
        let taken = request.avoiding.union(given.values).union(self.lost.withLock { $0 })
        let port =
            self.isHeld
            ? try self.leases.lease(wanted, avoiding: taken) : try self.leases.preview(wanted, avoiding: taken)
        given[name] = port
        return port
    }
}
