// What a manifest says that cannot be in a cluster.

extension ClusterPlanner {
    private mutating func refuse(_ location: Location, _ message: String, _ remedy: String) {
        self.diagnostics.append(Diagnostic(at: location, message, remedy: remedy))
    }

    private func place(of process: ClusterProcess) -> Location {
        self.manifest.processes.first { $0.name.value == process.process }?.name.location
            ?? self.manifest.name.location
    }

    // MARK: Names

    /// A DNS label has 63; a hash of 10 and a hyphen come after it.
    private static let nameLimit = 52

    /// What objects of a generation are called that belong to no process: its closed policy, and a Service for a migration.
    private static let takenNames: Set<String> = ["closed", "own"]

    mutating func checkNames(of processes: [ClusterProcess], _ prefix: String) {
        let deployment = self.manifest.name
        if deployment.value.wholeMatch(of: /g[0-9]+-.*/) != nil {
            self.refuse(
                deployment.location,
                "the deployment '\(deployment.value)' is called as a later generation of another one would be",
                "choose a name that does not begin with 'g', a number and '-'"
            )
        }
        var seen: Set<String> = []
        for process in processes {
            let name = "\(prefix)-\(process.name)"
            if name.utf8.count > Self.nameLimit {
                self.refuse(
                    self.place(of: process),
                    "the objects of process '\(process.process)' would be called '\(name)', \(name.utf8.count) characters, and at "
                        + "most \(Self.nameLimit) leave room for what Kubernetes appends",
                    "choose a shorter name for the process, or for the deployment"
                )
            }
            if Self.takenNames.contains(process.name) {
                self.refuse(
                    self.place(of: process),
                    "the objects of process '\(process.process)' would be called '\(name)', as others of the deployment are",
                    "choose another name for the process"
                )
            }
            if !seen.insert(process.name).inserted {
                self.refuse(
                    self.place(of: process),
                    "two processes would have objects called '\(name)': the replicas of one are not alike, so each is a process "
                        + "of its own",
                    "choose another name for one of them"
                )
            }
        }
    }

    /// The servers that the deployment brings along have names of their own.
    mutating func checkServerNames(
        _ discovery: ClusterDiscovery,
        _ nats: ClusterService?,
        _ processes: [ClusterProcess]
    ) {
        var servers = nats.map { $0.isManaged ? ["nats"] : [] } ?? []
        if case .etcd(let etcd) = discovery, etcd.isManaged { servers.append("etcd") }
        guard !servers.isEmpty else { return }
        let deployment = self.manifest.name
        for server in servers {
            let name = "\(deployment.value)-\(server)"
            guard name.utf8.count > Self.nameLimit else { continue }
            self.refuse(
                deployment.location,
                "the deployment's server would be called '\(name)', \(name.utf8.count) characters, and at most \(Self.nameLimit) "
                    + "leave room for what Kubernetes appends",
                "choose a shorter name for the deployment, or name a server that runs already under 'kubernetes.\(server)'"
            )
        }
        let taken = Set(servers + servers.map { "\($0)-pods" } + ["infrastructure"])
        for process in processes where taken.contains(process.name) {
            self.refuse(
                self.place(of: process),
                "the objects of process '\(process.process)' would be called '\(deployment.value)-\(process.name)', as those of "
                    + "the deployment's servers are",
                "choose another name for the process"
            )
        }
    }

    // MARK: Servers

    /// A server at an address of this machine is not there for pods, each of which is a machine of its own.
    mutating func checkReach(_ urls: [Located<String>], of server: String) {
        for url in urls {
            let addresses = url.value.split(separator: ",").compactMap { ServerAddress(String($0), port: 1) }
            guard let address = addresses.first(where: \.isLoopback) else { continue }
            self.refuse(
                url.location,
                "the \(server == "nats" ? "NATS" : server) server is at \(address.host), which is the pod itself for each pod",
                "name a server of the cluster under 'kubernetes.\(server)', or write 'infrastructure: {\(server): managed}'"
            )
        }
    }

    // MARK: Processes

    /// Our own image has no programs but ours.
    mutating func checkImage(_ process: ProcessManifest) {
        let images = self.settings.images
        // Whoever names the launcher's image may have put programs into it.
        guard !process.isDynamo, images.launcher == nil else { return }
        guard !self.options.isSinglePod else {
            return self.refuse(
                process.kubernetes.image?.location ?? process.name.location,
                "the pod has one image, \(ClusterImages.launcher(self.options.version)), which does not have the program of process "
                    + "'\(process.name.value)'",
                "say 'kubernetes: {images: {launcher: IMAGE}}' at the top: an image that has it beside dynamo-launch (docs/images.md)"
            )
        }
        guard process.kubernetes.image == nil, images.dynamo == nil else { return }
        self.refuse(
            process.name.location,
            "nothing says which image has the program of process '\(process.name.value)'",
            "say 'kubernetes.image' for the process"
        )
    }
}
