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
    /// Serve since before this launcher, and go on until something else is heard of them than that they are looked at.
    private var inherited: Set<String> = []
    private(set) var isClosed = false

    /// - Parameters:
    ///   - plan: the generation's.
    ///   - inherited: frontends of it that serve already.
    init(_ plan: Plan, inherited: [Backend] = []) {
        self.plan = plan
        for replica in plan.replicas { self.frontends[replica.name] = self.backend(of: replica) }
        for backend in inherited {
            self.frontends[backend.id] = backend
            self.ready.insert(backend.id)
            self.inherited.insert(backend.id)
        }
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
            self.inherited.remove(replica)
            guard self.frontends[replica] != nil, !self.released.contains(replica) else { return }
            self.ready.insert(replica)
        // It serves, and is only looked at anew.
        case .replicaState(let replica, .waiting, _) where self.inherited.contains(replica): break
        case .replicaState(let replica, .starting, _) where self.inherited.contains(replica): break
        case .replicaState(let replica, _, _), .exited(let replica, _, _): self.lose(replica)
        case .planChanged(let plan, _):
            self.plan = plan
            // What is there already goes on at its old place until it is started anew.
            for replica in plan.replicas where self.frontends[replica.name] == nil {
                self.frontends[replica.name] = self.backend(of: replica)
            }
        case .replicaPlanned(let replica):
            let backend = self.backend(of: replica)
            if self.frontends[replica.name] != backend { self.lose(replica.name) }
            self.frontends[replica.name] = backend
        case .started(let replica, _):
            // Another process than the one that served.
            if self.inherited.contains(replica) { self.lose(replica) }
            self.released.remove(replica)
        case .adopted(let replica, _, _): self.released.remove(replica)
        default: break
        }
    }

    private mutating func lose(_ replica: String) {
        self.ready.remove(replica)
        self.inherited.remove(replica)
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

    var report: GatewayReport { get async { await self.port.report } }

    func release(_ replica: String) async { await self.port.release(replica, of: self.generation) }

    func close() async { await self.port.close(self.generation) }
}
