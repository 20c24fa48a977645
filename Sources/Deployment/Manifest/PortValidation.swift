// Ports that cannot be had.

extension ManifestValidation {
    mutating func checkPorts() {
        var owners: [Int: (name: String, location: Location)] = [:]
        func claim(_ number: Int, _ name: String, _ location: Location) -> Diagnostic? {
            if let owner = owners[number] {
                let line =
                    owner.location.line > 0 && owner.location.file == location.file
                    ? " in line \(owner.location.line)" : ""
                return Diagnostic(
                    at: location,
                    "port \(number) of \(name) is also the port of \(owner.name)\(line)",
                    remedy: "give one of them another number, or write 'auto'"
                )
            }
            owners[number] = (name, location)
            return nil
        }
        let frontends = self.manifest.processes.filter { $0.role == .frontend && $0.replicas > 0 }
        if self.manifest.gateway != nil {
            if frontends.isEmpty {
                self.error(
                    at: self.manifest.name.location,
                    "the gateway has nothing to forward to: no process has the role frontend",
                    remedy: "add a frontend, or remove 'gateway'"
                )
            }
            if let port = self.manifest.http.port.value {
                let location = self.manifest.http.isPortGiven ? self.manifest.http.port.location : Location(file: "")
                owners[port] = ("the gateway (the public port)", location)
            }
            self.checkGatewayPorts(&owners)
        } else if let frontend = frontends.first {
            self.checkPublicPort(of: frontend)
        }
        for process in frontends
        where self.manifest.gateway == nil && !process.ports.contains(where: { $0.name.value == "http" }) {
            self.checkImplicitPort(of: process, isFirst: process.name == frontends.first?.name)
            guard process.name == frontends.first?.name, let port = self.manifest.http.port.value else { continue }
            let location = self.manifest.http.isPortGiven ? self.manifest.http.port.location : process.name.location
            if let diagnostic = claim(port, "process '\(process.name.value)' (http)", location) {
                self.append(diagnostic)
            }
        }
        for service in self.managedServices.sorted(by: { $0.key < $1.key }) {
            guard case .managed(let managed) = service.value.source else { continue }
            for port in [managed.port, managed.peerPort].compactMap({ $0 }) {
                if let diagnostic = claim(port.value, "'infrastructure.\(service.key)'", port.location) {
                    self.append(diagnostic)
                }
            }
        }
        for process in self.manifest.processes {
            for port in process.ports {
                if process.role == .frontend, port.name.value == "system", process.isDynamo || process.isBuiltin {
                    self.error(
                        at: port.name.location,
                        "a frontend has no system server: it answers /health and /metrics on its http port",
                        remedy: "remove 'system'"
                    )
                }
                for (index, number) in self.numbers(of: port, in: process).enumerated() {
                    let replica = process.replicas > 1 ? "replica \(index) of process" : "process"
                    let name = "\(replica) '\(process.name.value)' (\(port.name.value))"
                    // Those of further ranks are taken too.
                    let block = number..<(number + process.block(of: port.name.value))
                    let problems = block.compactMap { claim($0, name, port.location) }
                    if let diagnostic = problems.first {
                        self.append(diagnostic)
                        break
                    }
                }
            }
        }
    }

    /// What the gateway has beside the public port: one port may be had on several addresses of the machine.
    private mutating func checkGatewayPorts(_ owners: inout [Int: (name: String, location: Location)]) {
        let http = self.manifest.http
        var taken = [
            (host: http.host.value, port: http.port.value, name: "the public address", location: http.port.location)
        ]
        for entry in self.manifest.gatewayPorts {
            let address = entry.address.value
            let name = "the gateway's \(entry.use)"
            if let other = taken.first(where: { other in
                other.port == address.port
                    && (other.host == address.host || [other.host, address.host].contains(where: Self.isEveryAddress))
            }) {
                self.error(
                    at: entry.address.location,
                    "port \(address.port) of \(name) is also the port of \(other.name)",
                    remedy: "give one of them another number"
                )
            }
            taken.append((address.host, address.port, name, entry.address.location))
            if owners[address.port] == nil { owners[address.port] = (name, entry.address.location) }
        }
    }

    private static func isEveryAddress(_ host: String) -> Bool { ["0.0.0.0", "::", "[::]", "", "*"].contains(host) }

    /// The public port is said once.
    private mutating func checkPublicPort(of frontend: ProcessManifest) {
        let http = self.manifest.http
        guard http.isPortGiven, let port = frontend.ports.first(where: { $0.name.value == "http" }) else { return }
        if case .fixed(let template) = port.number, let number = http.port.value, template.literal == String(number) {
            return
        }
        if case .automatic = port.number, http.port.value == nil { return }
        self.error(
            at: port.location,
            "the public port is given twice: here and as 'http.port' in line \(http.port.location.line)",
            remedy: "remove one of the two; 'http.port' is enough"
        )
    }

    /// Only one replica of one frontend can have the public port.
    private mutating func checkImplicitPort(of process: ProcessManifest, isFirst: Bool) {
        let port = self.manifest.http.port.value.map(String.init) ?? "8000"
        if !isFirst {
            self.error(
                at: process.name.location,
                "the frontends need ports of their own, and '\(process.name.value)' has none",
                remedy: "add 'ports: {http: auto}' to '\(process.name.value)'"
            )
        } else if process.replicas > 1, self.manifest.http.port.value != nil {
            self.error(
                at: process.name.location,
                "\(process.replicas) replicas of '\(process.name.value)' cannot share port \(port)",
                remedy: "add 'ports: {http: \"{{\(port) + index}}\"}', or 'ports: {http: auto}'"
            )
        }
    }

    /// The numbers of a fixed port for each replica; what cannot be a port is complained about.
    private mutating func numbers(of port: PortManifest, in process: ProcessManifest) -> [Int] {
        guard case .fixed(let template) = port.number, process.replicas > 0 else { return [] }
        let limit = port.name.value == "system" ? PortRules.systemLimit : 65535
        if let literal = template.literal, process.replicas > 1 {
            self.error(
                at: port.location,
                "\(process.replicas) replicas of '\(process.name.value)' cannot share port \(literal)",
                remedy: "write \"{{\(literal) + index}}\", or 'auto'"
            )
            return []
        }
        var numbers: [Int] = []
        for index in 0..<process.replicas {
            do throws(Template.Failure) {
                let text = try template.resolved(["index": .number(index), "replicas": .number(process.replicas)])
                guard let number = Int(text), (1...limit).contains(number) else {
                    let reason = limit == 65535 ? "" : " (DYN_SYSTEM_PORT is a 16-bit number with a sign)"
                    self.error(
                        at: port.location,
                        "port '\(port.name.value)' of replica \(index) would be '\(Spelling.excerpt(text))', which is no port\(reason)",
                        remedy: "keep it between 1 and \(limit)"
                    )
                    return numbers
                }
                numbers.append(number)
            } catch {
                self.error(at: port.location, error.message, remedy: error.remedy)
                return numbers
            }
        }
        return numbers
    }
}
