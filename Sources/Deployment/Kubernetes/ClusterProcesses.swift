// From the replicas of this machine's planner to the processes of a cluster.

extension ClusterPlanner {
    /// One process where all replicas are alike, else one for each.
    mutating func processes(_ manifest: ProcessManifest, _ replicas: [ReplicaPlan], in plan: Plan) -> [ClusterProcess] {
        guard let first = replicas.first else { return [] }
        self.checkProgram(manifest)
        self.checkWorkingDirectory(manifest)
        self.checkPorts(manifest, first, plan.planes)
        let processes = replicas.map { self.process(manifest, Self.alike($0, as: first), in: plan) }
        let areAlike = processes.allSatisfy { $0 == processes[0] }
        if areAlike {
            var process = processes[0]
            process.replicas = replicas.count
            self.checkSecrets(manifest, first)
            return [process]
        }
        return zip(replicas, processes).map { replica, process in
            var process = process
            process.index = replica.index
            // There is one of each.
            process.settings.autoscaling = nil
            process.name = "\(process.name)-\(replica.index)"
            process.environment = self.environment(Self.alike(replica, as: first), manifest, plan.planes)
            self.checkSecrets(manifest, replica)
            return process
        }
    }

    /// A replica with the ports of the first one, since each is at an address of its own.
    private static func alike(_ replica: ReplicaPlan, as first: ReplicaPlan) -> ReplicaPlan {
        guard replica.index != first.index else { return replica }
        var numbers: [String: String] = [:]
        for (mine, theirs) in zip(replica.ports, first.ports) where mine.port != theirs.port {
            numbers[String(mine.port)] = String(theirs.port)
        }
        func text(_ text: String) -> String { Self.replacing(numbers, in: text) }
        var alike = replica
        alike.ports = first.ports
        alike.gpus = first.gpus
        var previous = ""
        alike.arguments = zip(replica.arguments, first.arguments).map { mine, theirs in
            defer { previous = mine }
            return Self.isPort(mine, theirs, called: previous) ? theirs : text(mine)
        }
        if replica.arguments.count != first.arguments.count { alike.arguments = replica.arguments.map(text) }
        let values = Dictionary(first.environment.map { ($0.name, $0.value) }) { $1 }
        for index in alike.environment.indices {
            let variable = alike.environment[index]
            let theirs = values[variable.name] ?? ""
            alike.environment[index].value =
                Self.isPort(variable.value, theirs, called: variable.name) ? theirs : text(variable.value)
        }
        alike.readiness = first.readiness
        return alike
    }

    /// Whether two texts are numbers of ports, by what they are called.
    private static func isPort(_ mine: String, _ theirs: String, called name: String) -> Bool {
        guard let mine = Int(mine), let theirs = Int(theirs), name.lowercased().contains("port") else { return false }
        return (1024...65535).contains(mine) && (1024...65535).contains(theirs)
    }

    /// A text with whole numbers replaced.
    private static func replacing(_ numbers: [String: String], in text: String) -> String {
        guard !numbers.isEmpty else { return text }
        var result = ""
        var digits = ""
        func flush() {
            result += numbers[digits] ?? digits
            digits = ""
        }
        for character in text {
            if character.isASCII, character.isNumber {
                digits.append(character)
            } else {
                flush()
                result.append(character)
            }
        }
        flush()
        return result
    }

    private func process(_ manifest: ProcessManifest, _ replica: ReplicaPlan, in plan: Plan) -> ClusterProcess {
        let program: ClusterProcess.Program =
            manifest.isBuiltin ? .ours : manifest.module.map { .dynamo(module: $0) } ?? .foreign
        let environment = self.environment(replica, manifest, plan.planes)
        return ClusterProcess(
            name: replica.process,
            process: replica.process,
            index: nil,
            role: replica.role,
            program: program,
            image: self.image(manifest, plan.release),
            command: [Self.program(replica)],
            arguments: replica.arguments,
            replicas: 1,
            environment: environment,
            ports: self.ports(manifest, replica, environment, plan.planes),
            workingDirectory: manifest.workingDirectory == nil ? nil : replica.workingDirectory,
            gpus: self.gpus(manifest, replica),
            gpuResource: manifest.kubernetes.gpuResource ?? self.gpuResource,
            dependencies: replica.dependencies,
            readiness: replica.readiness,
            timing: replica.timing,
            restart: replica.restart,
            stop: replica.stop,
            settings: manifest.kubernetes,
            origin: replica.origin
        )
    }

    private var gpuResource: String {
        switch self.manifest.device {
        case .cuda: "nvidia.com/gpu"
        case .xpu: "gpu.intel.com/xe"
        }
    }

    /// An engine that is told nothing takes what the machine has; in a cluster it gets what it asks for, and one is what it needs.
    private func gpus(_ manifest: ProcessManifest, _ replica: ReplicaPlan) -> Int {
        guard manifest.gpus == nil, let module = manifest.module, DynamoModules.loadsModel(module) else {
            return replica.gpus.count
        }
        return 1
    }

    private func image(_ manifest: ProcessManifest, _ release: DynamoRelease?) -> String {
        if let image = manifest.kubernetes.image { return image.value }
        let images = self.settings.images
        let ours = images.launcher?.value ?? ClusterImages.launcher(self.options.version)
        guard !manifest.isBuiltin, manifest.isDynamo, let release else {
            return manifest.isBuiltin ? ours : images.dynamo?.value ?? ours
        }
        return images.dynamo?.value
            ?? ClusterImages.dynamo(self.manifest.processes.compactMap(\.module), release: release)
    }

    // MARK: What cannot be

    /// A file of this machine is in no image.
    private mutating func checkProgram(_ process: ProcessManifest) {
        guard case .command(let words) = process.program, let first = words.first else { return }
        self.checkImage(process)
        guard self.isRelative(first.value), first.value.literals.contains(where: { $0.contains("/") }) else { return }
        let program = first.value.literal.map { " '\(Spelling.excerpt($0))'" } ?? ""
        self.diagnostics.append(
            Diagnostic(
                at: first.location,
                "the program\(program) of process '\(process.name.value)' is a path in this machine's folder, which no image has",
                remedy: "write its name, or its path in the image"
            )
        )
    }

    /// Nor is a folder beside the manifest.
    private mutating func checkWorkingDirectory(_ process: ProcessManifest) {
        guard let directory = process.workingDirectory, self.isRelative(directory.value) else { return }
        let folder = directory.value.literal.map { " '\(Spelling.excerpt($0))'" } ?? ""
        self.diagnostics.append(
            Diagnostic(
                at: directory.location,
                "the working directory\(folder) of process '\(process.name.value)' is a folder beside the manifest on this machine, "
                    + "which no image has",
                remedy: "write its path in the image, beginning with '/', or leave it out for the image's own"
            )
        )
    }

    /// Whether a path begins in the manifest's folder.
    private func isRelative(_ path: Template) -> Bool {
        switch path.parts.first {
        case .literal(let text)?: !text.hasPrefix("/")
        case .expression(.name("model"))?: !(self.manifest.model?.hasPrefix("/") ?? false)
        default: true
        }
    }

    /// A folder of this machine must be seen in the pods too.
    mutating func noteModelFolder(_ local: Plan, _ processes: [ClusterProcess]) {
        for process in processes where process.role != .infrastructure {
            let words = [local.model].compactMap(\.self) + process.arguments
            guard let path = words.first(where: { $0.hasPrefix("/") }),
                !process.settings.volumes.contains(where: { path.hasPrefix($0.path) })
            else { continue }
            self.notes.append(
                "process '\(process.process)' is told the path \(Spelling.excerpt(path)): it must be in the image, or on a volume "
                    + "('processes.\(process.process).kubernetes.volumes')"
            )
        }
    }
}
