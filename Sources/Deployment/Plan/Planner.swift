/// Makes a plan from a manifest.
package struct Planner {
    var manifest: Manifest
    let facts: PlanFacts
    var diagnostics: [Diagnostic] = []
    var notes: [String] = []
    /// Every port that the plan has given away.
    var usedPorts: Set<Int> = []
    /// nil: ports are what the manifest says.
    var managed: ManagedPorts?

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
        guard !planner.diagnostics.contains(where: { $0.severity == .error }) else {
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

    private mutating func plan() -> Plan {
        let directories = self.directories().generation(self.facts.generation)
        let interpreters = self.interpreters()
        let release = self.release(of: interpreters)
        let planes = self.planes(release)
        self.checkReleases(interpreters)
        self.checkBuiltinFlags()
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

    private mutating func planes(_ release: DynamoRelease?) -> PlaneSet {
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
            } else {
                events = implied
            }
        }
        return PlaneSet(request: written.request.value, events: events ?? .none, response: written.response.value)
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
