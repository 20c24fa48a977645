/// Makes a plan from a manifest.
package struct Planner {
    private(set) var manifest: Manifest
    let facts: PlanFacts
    var diagnostics: [Diagnostic] = []
    var notes: [String] = []
    /// Every port that the plan has given away.
    var usedPorts: Set<Int> = []
    /// nil: ports are what the manifest says.
    private(set) var managed: ManagedPorts?

    /// How messages call what stands after `--`.
    static let passthroughFile = "arguments after --"

    private init(_ manifest: Manifest, _ facts: PlanFacts) {
        self.manifest = Self.manifest(manifest, ofGeneration: facts.generation)
        self.facts = facts
        self.managed = ManagedPorts(facts.environment)
    }

    /// Two generations that run beside each other have namespaces of which neither begins with the other's name.
    private static func manifest(_ manifest: Manifest, ofGeneration number: Int) -> Manifest {
        guard number > 1 else { return manifest }
        var manifest = manifest
        manifest.namespace.value = "g\(number)-\(manifest.namespace.value)"
        return manifest
    }

    /// What has to run on this machine.
    ///
    /// - Parameters:
    ///   - manifest: What the user wants.
    ///   - facts: What is known about the machine and the caller.
    /// - Returns: The plan.
    /// - Throws: `ManifestErrors` with everything that keeps the manifest from being run here.
    package static func plan(_ manifest: Manifest, facts: PlanFacts) throws(ManifestErrors) -> Plan {
        var planner = Self(manifest, facts)
        let plan = planner.plan()
        guard let plan, !planner.diagnostics.contains(where: { $0.severity == .error }) else {
            throw ManifestErrors(planner.diagnostics).masking(facts.environment)
        }
        return plan
    }

    /// The folders of the deployment, which those of its first generation are too.
    ///
    /// - Throws: `ManifestErrors` when they cannot be used.
    package static func directories(
        of manifest: Manifest,
        facts: PlanFacts
    ) throws(ManifestErrors) -> DeploymentDirectories {
        var planner = Self(manifest, facts)
        let directories = planner.directories()
        guard planner.diagnostics.isEmpty else {
            throw ManifestErrors(planner.diagnostics).masking(facts.environment)
        }
        return directories
    }

    mutating func error(at location: Location, _ message: String, remedy: String?) {
        self.diagnostics.append(Diagnostic(at: location, message, remedy: remedy))
    }

    private mutating func plan() -> Plan? {
        let directories = self.directories().generation(self.facts.generation)
        let interpreters = self.interpreters()
        let release = self.release(of: interpreters)
        guard let planes = self.planes(release) else { return nil }
        self.checkReleases(interpreters)
        self.takeManagedPublicPort()
        self.reserveFixedPorts()
        let services = ServicePlanner(planner: &self, planes: planes, directories: directories)
        let ports = self.ports()
        let gpus = self.gpus()
        let context = ReplicaContext(
            planes: planes,
            row: release.map { ReleaseKnowledge.row(for: $0).row },
            directories: directories,
            discovery: services.discovery,
            natsURL: services.natsURL,
            services: services.replicas,
            infrastructure: self.infrastructure,
            interpreters: interpreters,
            ports: ports,
            gpus: gpus,
            publicAddress: self.publicAddress(ports),
            frontendHost: self.manifest.gateway == nil ? self.manifest.http.host.value : "127.0.0.1"
        )
        self.noteOverrides(context)
        let replicas = services.replicas + self.manifest.processes.flatMap { self.replicas(of: $0, context) }
        self.checkPassthrough()
        return Plan(
            deployment: self.manifest.name.value,
            generation: self.facts.generation,
            manifestPath: self.manifest.path == EmbeddedManifest.path ? nil : self.manifest.path,
            planes: planes,
            namespace: self.manifest.namespace.value,
            discovery: services.discovery,
            release: release,
            publicAddress: context.publicAddress,
            gateway: self.manifest.gateway?.resolved(against: self.manifestDirectory),
            model: self.manifest.model,
            canary: self.manifest.canary,
            migration: self.manifest.migration,
            survive: self.manifest.survive,
            directories: directories,
            replicas: Self.ordered(replicas),
            externalServices: services.external,
            passthrough: self.manifest.passthrough?.value,
            gpuSharing: self.manifest.gpuSharing,
            notes: self.notes
        )
    }

    /// The processes of role infrastructure that do not themselves wait for frontends or workers, at their top layers.
    private var infrastructure: [Dependency] {
        let graph = DependencyGraph(self.manifest.processes)
        return self.manifest.processes
            .filter { $0.role == .infrastructure && $0.replicas > 0 && graph.needsOnlyInfrastructure($0.name.value) }
            .map { Dependency(process: $0.name.value, layer: ReadinessRules.layers(of: $0).last ?? .alive) }
    }

    /// The replicas with each after those that it waits for, otherwise as they came.
    private static func ordered(_ replicas: [ReplicaPlan]) -> [ReplicaPlan] {
        var waiting: [(process: String, replicas: [ReplicaPlan])] = []
        for replica in replicas {
            if waiting.last?.process == replica.process {
                waiting[waiting.count - 1].replicas.append(replica)
            } else {
                waiting.append((replica.process, [replica]))
            }
        }
        var order: [ReplicaPlan] = []
        var pending = Set(waiting.map(\.process))
        while !waiting.isEmpty {
            let next = waiting.firstIndex { entry in
                // The replicas of a process wait for the same.
                entry.replicas[0].dependencies.allSatisfy { !pending.contains($0.process) }
            }
            // There are no cycles; were there one, its members would keep the order of the manifest.
            let entry = waiting.remove(at: next ?? 0)
            pending.remove(entry.process)
            order += entry.replicas
        }
        return order
    }

    // MARK: Places

    /// Where relative paths of the manifest begin.
    var manifestDirectory: String {
        guard let path = self.manifest.path, path != EmbeddedManifest.path else { return self.facts.workingDirectory }
        return FilePathText.resolve(FilePathText.parent(of: path), against: self.facts.workingDirectory)
    }

    private mutating func directories() -> DeploymentDirectories {
        let name = self.manifest.name.value
        let state = DeploymentDirectories.stateRoot(
            environment: self.facts.environment,
            homeDirectory: self.facts.homeDirectory
        )
        let runtime = DeploymentDirectories.runtimeRoot(
            environment: self.facts.environment,
            temporaryDirectory: self.facts.temporaryDirectory,
            userID: self.facts.userID
        )
        let directories = DeploymentDirectories(
            state: FilePathText.resolve(name, against: state),
            runtime: FilePathText.resolve(name, against: runtime)
        )
        let length = directories.controlSocket.utf8.count
        if length > 107 {
            self.error(
                at: self.manifest.name.location,
                "the path of the control socket would be \(length) bytes long, and a Unix socket has at most 107: "
                    + directories.controlSocket,
                remedy: "choose a shorter name, or set XDG_RUNTIME_DIR to a shorter folder"
            )
        }
        return directories
    }

    // MARK: Planes

    private mutating func planes(_ release: DynamoRelease?) -> PlaneSet? {
        let written = self.manifest.planes
        var events = written.events?.value
        if events == nil, let release {
            let row = ReleaseKnowledge.row(for: release).row
            let implied = row.events(with: self.manifest.discovery.backend.value)
            if implied.usesNATS, self.manifest.nats == nil {
                self.error(
                    at: written.request.location,
                    "Dynamo \(release) publishes KV events on NATS unless told otherwise, and the manifest names no NATS server",
                    remedy: "add 'infrastructure: {nats: managed}', or write 'planes: {request: "
                        + "\(written.request.value.rawValue), events: zmq}'"
                )
                return nil
            }
            events = implied
        }
        return PlaneSet(request: written.request.value, events: events ?? .none, response: written.response.value)
    }

    // MARK: Ports

    private mutating func takeManagedPublicPort() {
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

    private mutating func reserveFixedPorts() {
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
    private mutating func ports() -> [String: [[PortPlan]]] {
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

    private mutating func publicAddress(_ ports: [String: [[PortPlan]]]) -> HTTPAddress {
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

    // MARK: Devices

    private mutating func gpus() -> [String: [[String]]] {
        // A manifest that says ${CUDA_VISIBLE_DEVICES} itself has its list already.
        let isWritten = self.manifest.variables.contains(self.manifest.device.variable)
        let allocation = GPUAllocation(
            self.manifest.processes,
            device: self.manifest.device,
            environment: isWritten ? [:] : self.facts.environment,
            facts: self.facts.devices
        )
        for problem in allocation.problems {
            if problem.isOfMachine, !self.facts.devices.isBinding {
                self.notes.append("\(problem.message): it cannot be started so now")
            } else {
                self.error(at: problem.location, problem.message, remedy: problem.remedy)
            }
        }
        return allocation.devices
    }

    // MARK: Arguments after --

    private mutating func checkPassthrough() {
        guard !self.facts.passthroughArguments.isEmpty, self.manifest.passthrough == nil else { return }
        self.error(
            at: Location(file: Self.passthroughFile),
            "the manifest names no process for arguments after '--'",
            remedy: "add 'passthrough: \(self.manifest.processes.last?.name.value ?? "worker")' to the manifest"
        )
    }
}
