/// Makes a plan for a cluster from a manifest.
///
/// The planner of this machine does it, with other facts: programs are in images, every pod has an address of its own, and servers are
/// found by name.
package struct ClusterPlanner {
    package struct Options {
        /// nil: the manifest must say it where Dynamo takes part.
        package var release: DynamoRelease?
        package var generation: Int
        /// The tag of our own image.
        package var version: String
        /// The caller's environment, of which the manifest's variables are taken.
        package var environment: [String: String]
        package var workingDirectory: String
        /// What stands after `--` on the command line.
        package var passthroughArguments: [String]
        /// Whether all processes run in one pod, and so in one image.
        package var isSinglePod: Bool

        package init(
            release: DynamoRelease? = nil,
            generation: Int = 1,
            version: String,
            environment: [String: String] = [:],
            workingDirectory: String = "/",
            passthroughArguments: [String] = [],
            isSinglePod: Bool = false
        ) {
            self.release = release
            self.generation = generation
            self.version = version
            self.environment = environment
            self.workingDirectory = workingDirectory
            self.passthroughArguments = passthroughArguments
            self.isSinglePod = isSinglePod
        }
    }

    let manifest: Manifest
    let options: Options
    var settings: KubernetesSettings { self.manifest.kubernetes }
    var diagnostics: [Diagnostic] = []
    var notes: [String] = []

    /// The folder that stands for a search on the image's PATH.
    private static let path = "/on-the-path-of-the-image"
    private static let programs = "/usr/local/bin"

    private init(_ manifest: Manifest, _ options: Options) {
        self.manifest = manifest
        self.options = options
    }

    /// What has to run in the cluster.
    ///
    /// - Parameters:
    ///   - manifest: what the user wants.
    ///   - options: what is known beside it.
    /// - Returns: the plan.
    /// - Throws: `ManifestErrors` with everything that keeps the manifest from being run in a cluster.
    package static func plan(_ manifest: Manifest, _ options: Options) throws(ManifestErrors) -> ClusterPlan {
        var manifest = manifest
        if let release = options.release {
            let location = manifest.dynamo.release?.location ?? Location(file: "--dynamo-release")
            manifest.dynamo.release = Located(release, location)
        }
        var planner = Self(manifest, options)
        try planner.checkRelease()
        let local = try Planner.plan(manifest, facts: planner.facts(atHome: true))
        let plan = try planner.plan(local)
        guard planner.diagnostics.isEmpty else {
            throw ManifestErrors(planner.diagnostics).masking(options.environment)
        }
        return plan
    }

    private mutating func plan(_ local: Plan) throws(ManifestErrors) -> ClusterPlan {
        let name =
            self.options.generation > 1
            ? "g\(self.options.generation)-\(local.deployment)" : local.deployment
        let discovery = self.discovery(local)
        let nats = self.nats(local)
        let inPods = try Planner.plan(
            self.manifestOfPods(local, discovery, nats),
            facts: self.facts(atHome: false)
        )
        var processes: [ClusterProcess] = []
        var shared: [ClusterVariable] = []
        for process in self.manifest.processes {
            let replicas = inPods.replicas.filter { $0.process == process.name.value }
            guard let first = replicas.first else { continue }
            if first.role != .infrastructure {
                for variable in self.shared(first, discovery) where !shared.contains(variable) {
                    shared.append(variable)
                }
            }
            processes += self.processes(process, replicas, in: inPods)
        }
        let order = inPods.replicas.map(\.process)
        processes = processes.enumerated()
            .sorted {
                (order.firstIndex(of: $0.element.process) ?? 0, $0.offset)
                    < (order.firstIndex(of: $1.element.process) ?? 0, $1.offset)
            }
            .map(\.element)
        self.checkNames(of: processes, name)
        self.checkServerNames(discovery, nats, processes)
        self.noteModelFolder(local, processes)
        return ClusterPlan(
            deployment: local.deployment,
            generation: self.options.generation,
            name: name,
            kubernetesNamespace: self.settings.namespace?.value,
            planes: inPods.planes,
            namespace: inPods.namespace,
            release: inPods.release,
            discovery: discovery,
            nats: nats,
            publicPort: self.manifest.http.port.value ?? ClusterPorts.http,
            model: inPods.model,
            canary: inPods.canary,
            migration: inPods.migration,
            settings: self.settings,
            shared: shared,
            processes: processes,
            local: local,
            notes: inPods.notes + self.notes
        )
    }

    /// Nobody can be asked which release an image has.
    private func checkRelease() throws(ManifestErrors) {
        let python = self.manifest.dynamo.python
        guard self.manifest.dynamo.release == nil, self.manifest.processes.contains(where: \.isDynamo) else { return }
        throw ManifestErrors([
            Diagnostic(
                at: python.location,
                "which release of Dynamo the images have is not known: the manifest does not say it, and '\(python.value)' on this machine "
                    + "has none",
                remedy: "say it: --dynamo-release 1.6.1, or 'dynamo: {release: 1.6.1}' in the manifest"
            )
        ])
    }

    // MARK: Facts

    private func facts(atHome: Bool) -> PlanFacts {
        var environment = self.options.environment.filter { self.manifest.variables.contains($0.key) }
        environment["PATH"] = Self.path
        var next = 20000
        return PlanFacts(
            environment: environment,
            workingDirectory: self.options.workingDirectory,
            homeDirectory: "/home/dynamo",
            builtinDirectory: Self.programs,
            userID: 0,
            isExecutable: { _ in true },
            directoryExists: { _ in true },
            detectRelease: { _ in
                .failure(ReleaseProblem(reason: "in a cluster nobody can be asked"))
            },
            leasePort: { request in
                if atHome {
                    next += 1
                    return next
                }
                // The same for all replicas.
                return self.openPort(request.name, of: request.process)
            },
            passthroughArguments: self.options.passthroughArguments,
            // The launcher of a pod runs them there.
            preflight: self.options.isSinglePod ? nil : [:],
            generation: self.options.generation
        )
    }

    /// The manifest as it is for pods.
    private func manifestOfPods(_ local: Plan, _ discovery: ClusterDiscovery, _ nats: ClusterService?) -> Manifest {
        var manifest = self.manifest
        let place = manifest.name.location
        // What this machine's discovery would imply must not change with another discovery.
        manifest.planes.events = Located(local.planes.events, manifest.planes.request.location)
        manifest.inherit = .none
        manifest.dynamo.python = Located("python3", manifest.dynamo.python.location)
        manifest.http = HTTPManifest(
            host: Located("0.0.0.0", place),
            port: Located(ClusterPorts.http, place),
            isPortGiven: true
        )
        manifest.gateway = nil
        manifest.gatewayPorts = []
        manifest.discovery.backend = Located(.etcd, manifest.discovery.backend.location)
        manifest.discovery.directory = nil
        manifest.etcd = nil
        if case .etcd(let service) = discovery {
            manifest.discovery.endpoints = service.urls.map { Located($0, place) }
        } else {
            manifest.discovery.endpoints = []
        }
        if let nats {
            manifest.nats = ServiceManifest(source: .external(nats.urls.map { Located($0, place) }), location: place)
        }
        for index in manifest.processes.indices {
            manifest.processes[index].listen = []
            if case .module(let module, _) = manifest.processes[index].program {
                manifest.processes[index].program = .module(module, python: nil)
            }
        }
        return manifest
    }

    // MARK: Servers

    private mutating func discovery(_ local: Plan) -> ClusterDiscovery {
        let members = self.manifest.processes.filter { $0.replicas > 0 && $0.role != .infrastructure }
        let others = members.contains { !$0.isDynamo }
        if let wanted = self.settings.discovery, wanted.value == .kubernetes,
            let ours = members.first(where: \.isBuiltin)
        {
            self.diagnostics.append(
                Diagnostic(
                    at: wanted.location,
                    "'kubernetes.discovery' is kubernetes, and process '\(ours.name.value)' is one of ours, which does not "
                        + "use the API server",
                    remedy: "write 'discovery: etcd'"
                )
            )
        }
        let chosen = self.settings.discovery?.value ?? (others ? .etcd : .kubernetes)
        guard chosen == .etcd else { return .kubernetes }
        var urls = self.settings.etcd
        if urls.isEmpty, case .etcd = local.discovery, !local.replicas.contains(where: Self.isEtcd) {
            urls = self.manifest.discovery.endpoints
            if case .external(let external)? = self.manifest.etcd?.source { urls = external }
        }
        self.checkSecrets(urls, called: "etcd", "take it out, and give it under 'env'")
        self.checkReach(urls, of: "etcd")
        var arguments: [String] = []
        if urls.isEmpty, let etcd = self.manifest.etcd, case .managed(let service) = etcd.source {
            arguments = self.arguments(of: service, port: ClusterPorts.etcd, called: "etcd", at: etcd.location)
        }
        return .etcd(
            ClusterService(
                urls: urls.isEmpty
                    ? ["http://\(local.deployment)-etcd:\(ClusterPorts.etcd)"] : urls.map(\.value),
                isManaged: urls.isEmpty,
                image: self.settings.images.etcd?.value ?? ClusterImages.etcd,
                arguments: arguments
            )
        )
    }

    private static func isEtcd(_ replica: ReplicaPlan) -> Bool {
        replica.process == "etcd" && replica.role == .infrastructure
    }

    private mutating func nats(_ local: Plan) -> ClusterService? {
        guard local.planes.usesNATS else { return nil }
        var urls = self.settings.nats.map { [$0] } ?? []
        var service = ClusterService(
            urls: [],
            isManaged: false,
            hasJetStream: local.planes.events == .jetstream,
            image: self.settings.images.nats?.value ?? ClusterImages.nats
        )
        switch self.manifest.nats?.source {
        case .managed(let managed)?:
            service.hasJetStream = managed.jetstream ?? service.hasJetStream
            if urls.isEmpty, let place = self.manifest.nats?.location {
                service.arguments = self.arguments(of: managed, port: ClusterPorts.nats, called: "nats", at: place)
            }
        case .external(let external)? where urls.isEmpty: urls = external
        default: break
        }
        self.checkSecrets(
            urls,
            called: "NATS",
            "take it out, and give NATS_AUTH_USERNAME and NATS_AUTH_PASSWORD under 'env'"
        )
        self.checkReach(urls, of: "nats")
        service.urls = urls.map(\.value)
        if service.urls.isEmpty {
            service.urls = ["nats://\(local.deployment)-nats:\(ClusterPorts.nats)"]
            service.isManaged = true
        }
        return service
    }

    /// The arguments of a server that the deployment brings along.
    ///
    /// All generations share it, so `{{namespace}}` is the manifest's, whatever the generation's is called.
    private mutating func arguments(
        of service: ManagedService,
        port: Int,
        called name: String,
        at location: Location
    ) -> [String] {
        let values: [String: Template.Value] = [
            "namespace": .text(self.manifest.namespace.value), "port.client": .number(port),
        ]
        var arguments: [String] = []
        for template in service.arguments {
            do throws(Template.Failure) { arguments.append(try template.resolved(values)) } catch {
                self.diagnostics.append(Diagnostic(at: location, error.message, remedy: error.remedy))
            }
        }
        self.checkSecrets(service, arguments, called: name, at: location)
        return arguments
    }

    // MARK: Variables

    /// The variables that say where all processes meet.
    private static let meeting: Set<String> = Set(
        [
            .requestPlane, .responsePlane, .eventPlane, .durableEvents, .routerDurableEvents, .discoveryBackend,
            .storeKV, .fileKV, .namespace, .natsServer, .etcdEndpoints,
        ].map(\OwnedVariable.rawValue)
    )

    private func shared(_ replica: ReplicaPlan, _ discovery: ClusterDiscovery) -> [ClusterVariable] {
        replica.environment.compactMap { variable in
            guard variable.source == .derived, Self.meeting.contains(variable.name) else { return nil }
            var value = variable.value
            if discovery == .kubernetes {
                if variable.name == OwnedVariable.etcdEndpoints.rawValue { return nil }
                let backends = [OwnedVariable.discoveryBackend.rawValue, OwnedVariable.storeKV.rawValue]
                if backends.contains(variable.name) { value = "kubernetes" }
            }
            return ClusterVariable(name: variable.name, value: .text(value))
        }
    }

    /// The variables of one process, without those that all have.
    func environment(_ replica: ReplicaPlan, _ process: ProcessManifest, _ planes: PlaneSet) -> [ClusterVariable] {
        var variables: [String: ClusterVariable.Value] = [:]
        for variable in replica.environment where variable.source != .inherited {
            let isDerived = variable.source == .derived
            if isDerived, Self.meeting.contains(variable.name) || variable.name == self.manifest.device.variable {
                continue
            }
            variables[variable.name] = self.value(of: variable, in: process)
        }
        if process.isBuiltin || process.isDynamo, process.role != .infrastructure {
            // They look for some that no manifest names, such as HF_TOKEN.
            let unset = Set(process.unset.map(\.value))
            for (name, key) in self.settings.secrets where !unset.contains(name) { variables[name] = .secret(key) }
        }
        for (name, port) in self.planePorts(process, planes, variables, replica.ports.map(\.port)) {
            if Self.number(variables[name]) == nil { variables[name] = .text(String(port.number)) }
        }
        let values = Dictionary(replica.environment.map { ($0.name, $0.value) }) { $1 }
        return variables.sorted { $0.key < $1.key }.map { name, value in
            var variable = ClusterVariable(name: name, value: value)
            if case .secret = value { variable.shownURL = values[name].flatMap(Self.shown(url:)) }
            return variable
        }
    }

    /// The program's name as the image finds it.
    static func program(_ replica: ReplicaPlan) -> String {
        replica.executable.hasPrefix("\(Self.path)/")
            ? String(replica.executable.dropFirst(Self.path.count + 1)) : replica.executable
    }
}
