/// What the operator, or its resource, cannot take.
struct OperatorLimits {
    let plan: ClusterPlan

    init(_ plan: ClusterPlan) { self.plan = plan }

    /// The most components of a graph.
    static let components = 25
    /// Of the graph's name and a component's together, where Grove runs them.
    static let combinedName = 45

    var diagnostics: [Diagnostic] {
        self.count()
            + self.plan.processes.flatMap { self.names($0) + self.frontendPort($0) + self.ports($0) + self.volumes($0) }
    }

    private func count() -> [Diagnostic] {
        guard self.plan.processes.count > Self.components else { return [] }
        return [
            Diagnostic(
                at: self.location(self.plan.processes[Self.components]),
                "the deployment has \(self.plan.processes.count) components, and a \(OperatorObjects.kind) has at most "
                    + "\(Self.components)",
                remedy: "use 'replicas' for copies of one program, or --flavor plain"
            )
        ]
    }

    private func names(_ process: ClusterProcess) -> [Diagnostic] {
        let length = self.plan.name.utf8.count + process.name.utf8.count
        guard length > Self.combinedName else { return [] }
        return [
            Diagnostic(
                at: self.location(process),
                "the names of the deployment and of process '\(process.process)' have \(length) characters together, and the "
                    + "operator allows \(Self.combinedName) (with Grove)",
                remedy: "choose a shorter name for one of them, or --flavor plain"
            )
        ]
    }

    /// The operator's Service and probes lead to its own port.
    private func frontendPort(_ process: ClusterProcess) -> [Diagnostic] {
        let flag = PlaneFlag(flag: "--http-port", variable: .httpPort)
        guard process.role == .frontend, let (value, _) = flag.value(in: process.arguments),
            value != String(OperatorComponent.frontendPort)
        else { return [] }
        return [
            Diagnostic(
                at: self.location(process),
                "frontend '\(process.process)' is told --http-port \(Spelling.excerpt(value)), and the operator's frontends have "
                    + "\(OperatorComponent.frontendPort)",
                remedy: "leave the flag out, or use --flavor plain"
            )
        ]
    }

    /// A port of another purpose cannot have the number at which the operator's pods listen for theirs.
    private func ports(_ process: ClusterProcess) -> [Diagnostic] {
        let component = OperatorComponent(process: process, plan: self.plan)
        let taken = Dictionary(
            process.ports.compactMap { port in component.operatorPort(port.purpose).map { ($0, port.name) } }
        ) { first, _ in first }
        return process.ports.compactMap { port in
            guard component.operatorPort(port.purpose) == nil, let name = taken[port.number] else { return nil }
            return Diagnostic(
                at: port.location ?? self.location(process),
                "port '\(port.name)' of process '\(process.process)' is \(port.number), where the operator's "
                    + "\(process.role.rawValue)s have '\(name)'",
                remedy: "give it another number, or use --flavor plain"
            )
        }
    }

    /// The operator's own volume for `/dev/shm` has a name that no other may have.
    private func volumes(_ process: ClusterProcess) -> [Diagnostic] {
        let name = "shared-memory"
        guard PodVolumes(process).sharedMemory != nil, process.settings.volumes.contains(where: { $0.name == name })
        else { return [] }
        return [
            Diagnostic(
                at: self.location(process),
                "a volume of process '\(process.process)' is called '\(name)', as the operator calls its own",
                remedy: "give it another 'name', or use --flavor plain"
            )
        ]
    }

    private func location(_ process: ClusterProcess) -> Location {
        Location(origin: process.origin) ?? Location(file: self.plan.local.manifestPath ?? EmbeddedManifest.path)
    }
}

extension Location {
    /// From its own description.
    ///
    /// - Parameter origin: `file:line:column`.
    init?(origin: String?) {
        guard let match = origin?.wholeMatch(of: /(.+):([0-9]+):([0-9]+)/), let line = Int(match.2),
            let column = Int(match.3)
        else { return nil }
        self.init(file: String(match.1), line: line, column: column)
    }
}
