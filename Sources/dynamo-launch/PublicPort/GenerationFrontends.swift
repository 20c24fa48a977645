import Deployment
import Gateway
import Supervisor

/// The frontends of one generation, and which of them may get requests.
struct GenerationFrontends: Sendable {
    /// As it is at the moment.
    private(set) var plan: Plan
    /// Where each frontend listens.
    private(set) var frontends: [String: Backend] = [:]
    private var ready: Set<String> = []
    /// Get nothing more until a new process of them has been started.
    private var released: Set<String> = []
    private(set) var isClosed = false

    init(_ plan: Plan) {
        self.plan = plan
        for replica in plan.replicas { self.frontends[replica.name] = self.backend(of: replica) }
    }

    /// Those that may get requests.
    var backends: [Backend] { self.isClosed ? [] : self.ready.sorted().compactMap { self.frontends[$0] } }

    /// None of them gets anything more.
    mutating func close() { self.isClosed = true }

    /// It gets nothing more until a new process of it has been started.
    mutating func release(_ replica: String) {
        self.released.insert(replica)
        self.ready.remove(replica)
    }

    /// Something happened to a process of this generation.
    mutating func observe(_ notice: SupervisorNotice) {
        switch notice {
        case .replicaState(let replica, .ready, _):
            guard self.frontends[replica] != nil, !self.released.contains(replica) else { return }
            self.ready.insert(replica)
        case .replicaState(let replica, _, _), .exited(let replica, _, _): self.ready.remove(replica)
        case .planChanged(let plan, _):
            self.plan = plan
            // What is there already goes on at its old place until it is started anew.
            for replica in plan.replicas where self.frontends[replica.name] == nil {
                self.frontends[replica.name] = self.backend(of: replica)
            }
        case .replicaPlanned(let replica): self.frontends[replica.name] = self.backend(of: replica)
        case .started(let replica, _): self.released.remove(replica)
        default: break
        }
    }

    /// Nil for what is no frontend.
    private func backend(of replica: ReplicaPlan) -> Backend? {
        guard replica.role == .frontend, let port = replica.ports.first(where: { $0.name == "http" })?.port else {
            return nil
        }
        return Backend(id: replica.name, generation: self.plan.generation, host: "127.0.0.1", port: port)
    }
}

/// The public port as one generation's supervisor sees it.
struct GenerationPort: PublicPortControl {
    let port: PublicPort
    let generation: Int

    var report: GatewayReport { self.port.report }

    func release(_ replica: String) async { await self.port.release(replica, of: self.generation) }

    func close() async { await self.port.close(self.generation) }
}
