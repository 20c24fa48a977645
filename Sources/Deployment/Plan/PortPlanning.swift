/// Who gets which port.
extension Planner {
    mutating func takeManagedPublicPort() {
        guard self.managed != nil,
            self.manifest.gateway != nil
                || self.manifest.processes.contains(where: { $0.role == .frontend && $0.replicas > 0 })
        else { return }
        let value = self.managedValue(ManagedPorts.publicPort, for: "http", of: "the public address")
        guard case .port(let number) = value else { return }
        self.manifest.http.port = Located(number, Location(file: ManagedPorts.publicPort))
    }

    private mutating func managedValue(_ variable: String, for name: String, of owner: String) -> ManagedPorts.Value? {
        let value = self.managed?.value(variable, for: name, of: owner)
        if case .problem(let diagnostic) = value { self.diagnostics.append(diagnostic) }
        return value
    }

    mutating func reserveFixedPorts() {
        for process in self.manifest.processes {
            for port in process.ports {
                guard case .fixed(let template) = port.number else { continue }
                for index in 0..<process.replicas {
                    let values: [String: Template.Value] = [
                        "index": .number(index), "replicas": .number(process.replicas),
                    ]
                    if let text = try? template.resolved(values), let number = Int(text) {
                        self.usedPorts.formUnion(number..<(number + process.block(of: port.name.value)))
                    }
                }
            }
        }
        if let port = self.manifest.http.port.value { self.usedPorts.insert(port) }
        self.usedPorts.formUnion(self.manifest.gatewayPorts.map(\.address.value.port))
        for service in [self.manifest.nats, self.manifest.etcd] {
            guard case .managed(let managed)? = service?.source else { continue }
            self.usedPorts.formUnion([managed.port, managed.peerPort].compactMap { $0?.value })
        }
    }

    /// The ports of every replica, by process.
    mutating func ports() -> [String: [[PortPlan]]] {
        var result: [String: [[PortPlan]]] = [:]
        let managed = self.managedPorts()
        // Behind a gateway no frontend has the public port.
        let public_ =
            self.manifest.gateway == nil
            ? self.manifest.processes.first { $0.role == .frontend && $0.replicas > 0 } : nil
        for process in self.manifest.processes {
            var replicas: [[PortPlan]] = []
            for index in 0..<process.replicas {
                var ports: [PortPlan] = managed[process.name.value]?[index] ?? []
                if process.role == .frontend, !process.ports.contains(where: { $0.name.value == "http" }) {
                    if process.name == public_?.name, let port = self.manifest.http.port.value {
                        ports.append(PortPlan(name: "http", port: port, leased: false))
                    } else if let port = self.lease("http", of: process.name, index) {
                        ports.append(port)
                    }
                }
                for port in process.ports where !ports.contains(where: { $0.name == port.name.value }) {
                    if process.name == public_?.name, index == 0, port.name.value == "http", self.managed != nil {
                        ports.append(PortPlan(name: "http", port: self.manifest.http.port.value ?? 8000, leased: false))
                    } else if let port = self.port(port, of: process, index) {
                        ports.append(port)
                    }
                }
                if process.hasSystemServer, !ports.contains(where: { $0.name == "system" }),
                    let port = self.lease("system", of: process.name, index)
                {
                    ports.append(port)
                }
                replicas.append(ports)
            }
            result[process.name.value] = replicas
        }
        return result
    }

    /// The ports that variables give, by process and replica; what they leave to the launcher is not among them.
    private mutating func managedPorts() -> [String: [[PortPlan]]] {
        guard self.managed != nil else { return [:] }
        var result: [String: [[PortPlan]]] = [:]
        var worker = 0
        for process in self.manifest.processes where process.role == .worker {
            var names = process.ports.map(\.name.value)
            if process.hasSystemServer, !names.contains("system") { names.append("system") }
            // Where the manifest gives the number to vLLM itself, that is its port.
            let givesSideChannel = process.environment.contains { $0.name.value == ManagedPorts.sideChannel }
            if givesSideChannel, !names.contains("nixl") { names.append("nixl") }
            for index in 0..<process.replicas {
                worker += 1
                var ports: [PortPlan] = []
                let owner = process.replicas > 1 ? "\(process.name.value)-\(index)" : process.name.value
                for name in names {
                    guard let variable = ManagedPorts.variable(of: name, worker: worker) else { continue }
                    guard case .port(let number) = self.managedValue(variable, for: name, of: owner) else { continue }
                    let port = PortPlan(name: name, port: number, leased: false, block: process.block(of: name))
                    ports.append(port)
                    self.usedPorts.formUnion(port.numbers)
                }
                result[process.name.value, default: []].append(ports)
            }
        }
        return result
    }

    private mutating func port(_ port: PortManifest, of process: ProcessManifest, _ index: Int) -> PortPlan? {
        switch port.number {
        case .automatic:
            let name = port.name.value
            return self.lease(
                name,
                of: Located(process.name.value, port.location),
                index,
                count: process.block(of: name)
            )
        case .fixed(let template):
            let values: [String: Template.Value] = ["index": .number(index), "replicas": .number(process.replicas)]
            guard let text = try? template.resolved(values), let number = Int(text) else { return nil }
            if let other = self.managed?.owner(of: number) {
                self.error(
                    at: port.location,
                    "port \(number) of process '\(process.name.value)' (\(port.name.value)) is given to \(other)",
                    remedy: "write another number or 'auto', or set another port in the variable"
                )
            }
            let name = port.name.value
            return PortPlan(name: name, port: number, leased: false, block: process.block(of: name))
        }
    }

    mutating func lease(_ name: String, of process: Located<String>, _ index: Int, count: Int = 1) -> PortPlan? {
        let request = PortRequest(
            process: process.value,
            index: index,
            name: name,
            count: count,
            range: PortRules.leased,
            avoiding: self.usedPorts
        )
        do {
            let port = PortPlan(name: name, port: try self.facts.leasePort(request), leased: true, block: count)
            self.usedPorts.formUnion(port.numbers)
            return port
        } catch {
            self.error(
                at: process.location,
                "no port can be had for '\(name)' of process '\(process.value)': \(error)",
                remedy: "free a port, or give a number under 'ports'"
            )
            return nil
        }
    }

    mutating func publicAddress(_ ports: [String: [[PortPlan]]]) -> HTTPAddress {
        let host = self.manifest.http.host.value
        if self.manifest.gateway != nil {
            let port = self.manifest.http.port
            let leased = Located(GatewayPlan.name, port.location)
            return HTTPAddress(host: host, port: port.value ?? self.lease("http", of: leased, 0)?.port ?? 8000)
        }
        let frontend = self.manifest.processes.first { $0.role == .frontend && $0.replicas > 0 }
        let port = frontend.flatMap { ports[$0.name.value]?.first?.first { $0.name == "http" }?.port }
        return HTTPAddress(host: host, port: port ?? self.manifest.http.port.value ?? 8000)
    }
}
