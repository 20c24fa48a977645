/// One entry under `processes` of a manifest that is written.
struct ManifestEntry: Sendable {
    var name: String
    var program: DynamoInvocation.Program
    var role: Role
    var python: String?
    var pythonOptions: [String] = []
    /// These, and all texts below, as they stand in a manifest.
    var arguments: [String] = []
    var replicas = 1
    /// A list, as YAML.
    var gpus: String?
    /// By name, in order.
    var ports: [(name: String, number: String)] = []
    var environment: [String: String] = [:]
    var unset: [String] = []
    var dependsOn: String?
    var workingDirectory: String?

    /// Its lines.
    ///
    /// - Parameters:
    ///   - python: the interpreter of the deployment.
    ///   - shared: variables that all processes have.
    /// - Returns: lines, indented by two.
    func lines(python: String?, shared: [String: String]) -> [String] {
        var lines = ["  \(self.name):"]
        func add(_ line: String) { lines.append("    \(line)") }
        var rest = self.arguments
        switch self.program {
        case .builtin(let builtin): add("builtin: \(builtin.rawValue)")
        case .module(let module) where self.pythonOptions.isEmpty:
            add("module: \(module)")
            if let own = self.python, own != python { add("python: \(YAMLText.scalar(own))") }
        case .module(let module):
            add("role: \(self.role.rawValue)")
            let words = [self.python ?? "python3"] + self.pythonOptions + ["-m", module] + rest
            add("command: [\(words.map(YAMLText.scalar).joined(separator: ", "))]")
            rest = []
        }
        if let dependsOn = self.dependsOn { add("dependsOn: {\(dependsOn): health}") }
        if !rest.isEmpty {
            let words = rest.map(YAMLText.scalar)
            let line = "args: [\(words.joined(separator: ", "))]"
            if line.count <= 100 {
                add(line)
            } else {
                add("args:")
                for word in words { add("  - \(word)") }
            }
        }
        if self.replicas > 1 { add("replicas: \(self.replicas)") }
        if let gpus = self.gpus { add("gpus: \(gpus)") }
        if !self.ports.isEmpty {
            add("ports: {\(self.ports.map { "\($0.name): \(YAMLText.value($0.number))" }.joined(separator: ", "))}")
        }
        let own = self.environment.filter { shared[$0.key] == nil }
        if !own.isEmpty {
            add("env:")
            for (name, value) in own.sorted(by: { $0.key < $1.key }) { add("  \(name): \(YAMLText.value(value))") }
        }
        if !self.unset.isEmpty { add("unset: [\(self.unset.joined(separator: ", "))]") }
        if let folder = self.workingDirectory { add("workingDirectory: \(YAMLText.scalar(folder))") }
        if case .module(let module) = self.program, DynamoModules.loadsModel(module) {
            add("timing: {startupTimeout: 20m}   # loading a model takes minutes")
            add("stop: {grace: 30s}")
        }
        return lines
    }

    /// What all of several have, when there are several.
    static func shared(_ environments: [[String: String]]) -> [String: String] {
        guard environments.count > 1, let first = environments.first else { return [:] }
        return first.filter { name, value in environments.allSatisfy { $0[name] == value } }
    }

    /// The names of entries: the second of the same kind is `worker2`.
    static func names(_ bases: [String]) -> [String] {
        var counts: [String: Int] = [:]
        return bases.map { base in
            counts[base, default: 0] += 1
            return base + (counts[base] == 1 ? "" : "\(counts[base] ?? 0)")
        }
    }
}
