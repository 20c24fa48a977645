// The ports of pods, of which every pod has the same ones.

extension ClusterPlanner {
    /// The number of a port that the manifest leaves open: the usual one, or the next that the process does not have otherwise.
    func openPort(_ name: String, of process: String) -> Int {
        let manifest = self.manifest.processes.first { $0.name.value == process }
        let ports = manifest?.ports ?? []
        let given = Set(
            ports.compactMap { port -> Int? in
                if case .fixed(let template) = port.number { template.literal.flatMap { Int($0) } } else { nil }
            }
        )
        let usual = ["http": ClusterPorts.http, "system": ClusterPorts.system]
        if let number = usual[name] { return Self.free(from: number, besides: given) }
        var number = ClusterPorts.others
        for port in ports where port.number == .automatic && usual[port.name.value] == nil {
            number = Self.free(from: number, besides: given)
            if port.name.value == name { return number }
            number += 1
        }
        return Self.free(from: number, besides: given)
    }

    private static func free(from first: Int, besides taken: Set<Int>) -> Int {
        var number = first
        while taken.contains(number) { number += 1 }
        return number
    }

    /// The number of a port that a variable fixes; nil: it says none, or 0.
    static func number(_ value: ClusterVariable.Value?) -> Int? {
        guard case .text(let text)? = value, let number = Int(text), number != 0 else { return nil }
        return number
    }

    /// The ports of the planes by the variable that fixes each.
    ///
    /// - Parameters:
    ///   - process: whose ports.
    ///   - planes: of the deployment.
    ///   - variables: of the process, which may fix some.
    ///   - others: the numbers of its other ports.
    /// - Returns: variables and ports; what no variable fixes has the usual number, or the next that is free.
    func planePorts(
        _ process: ProcessManifest,
        _ planes: PlaneSet,
        _ variables: [String: ClusterVariable.Value],
        _ others: [Int]
    ) -> [(String, ClusterPort)] {
        guard process.role != .infrastructure else { return [] }
        var ports: [(String, ClusterPort)] = []
        let request = ClusterPort(name: "request", number: ClusterPorts.request, purpose: .request)
        if process.role != .frontend {
            switch planes.request {
            case .tcp: ports.append((OwnedVariable.tcpPort.rawValue, request))
            case .http: ports.append((OwnedVariable.httpRPCPort.rawValue, request))
            case .nats: break
            }
        }
        let response = ClusterPort(name: "response", number: ClusterPorts.response, purpose: .response)
        ports.append((OwnedVariable.tcpResponsePort.rawValue, response))
        let given = ports.map { Self.number(variables[$0.0]) }
        var taken = Set(others + given.compactMap(\.self))
        for index in ports.indices {
            let number = given[index] ?? Self.free(from: ports[index].1.number, besides: taken)
            taken.insert(number)
            ports[index].1.number = number
        }
        return ports
    }

    func ports(
        _ manifest: ProcessManifest,
        _ replica: ReplicaPlan,
        _ environment: [ClusterVariable],
        _ planes: PlaneSet
    ) -> [ClusterPort] {
        let variables = Dictionary(environment.map { ($0.name, $0.value) }) { $1 }
        let ofPlanes = self.planePorts(manifest, planes, variables, replica.ports.map(\.port)).map(\.1)
        var names = Set(ofPlanes.map(\.name) + ["http", "system"])
        let others = replica.ports.map { port in
            let location = manifest.ports.first { $0.name.value == port.name }?.location
            switch port.name {
            case "http":
                return ClusterPort(name: port.name, number: port.port, purpose: .http, location: location)
            case "system":
                return ClusterPort(name: port.name, number: port.port, purpose: .system, location: location)
            default:
                let candidates = (Self.isPortName(port.name) ? [port.name] : []) + ["port-\(port.port)"]
                let name = candidates.first { !names.contains($0) } ?? "p-\(port.port)"
                names.insert(name)
                return ClusterPort(name: name, number: port.port, purpose: .other, location: location)
            }
        }
        return others + ofPlanes
    }

    /// What Kubernetes takes as the name of a port: 15 characters at most, and no two hyphens in a row or one at an end.
    private static func isPortName(_ name: String) -> Bool {
        name.utf8.count <= 15 && !name.hasPrefix("-") && !name.hasSuffix("-") && !name.contains("--")
    }

    /// Two ports of a pod must have two numbers.
    mutating func checkPorts(_ process: ProcessManifest, _ replica: ReplicaPlan, _ planes: PlaneSet) {
        let ports = self.ports(process, replica, self.environment(replica, process, planes), planes)
        var names: [Int: String] = [:]
        for port in ports {
            guard let other = names[port.number] else {
                names[port.number] = port.name
                continue
            }
            let declared = Set(replica.ports.filter { $0.port == port.number }.map(\.name))
            let place = process.ports.last { declared.contains($0.name.value) }?.location
            self.diagnostics.append(
                Diagnostic(
                    at: place ?? process.name.location,
                    "ports '\(other)' and '\(port.name)' of process '\(process.name.value)' are both \(port.number) in its pods",
                    remedy: "give one of them another number"
                )
            )
        }
    }
}
