// Dependencies that can never be met.

extension ManifestValidation {
    mutating func checkDependencies() {
        let processes = Dictionary(
            self.manifest.processes.map { ($0.name.value, $0) },
            uniquingKeysWith: { first, _ in first }
        )
        let known = self.manifest.processNames + self.managedServices.keys.sorted()
        for process in self.manifest.processes + self.manifest.incomplete {
            var seen: Set<String> = []
            for dependency in process.dependsOn {
                let name = dependency.process
                guard seen.insert(name.value).inserted else {
                    self.error(at: name.location, "'\(name.value)' is listed twice", remedy: "keep one of the two")
                    continue
                }
                guard known.contains(name.value) else {
                    self.unknownDependency(name, known)
                    continue
                }
                guard let target = processes[name.value], let layer = dependency.layer else { continue }
                let reached = ReadinessRules.layers(of: target)
                guard let top = reached.last, layer.value > top else { continue }
                self.error(
                    at: layer.location,
                    "process '\(process.name.value)' waits for layer '\(layer.value.rawValue)' of '\(name.value)', "
                        + "which never gets beyond '\(top.rawValue)'",
                    remedy:
                        "write '\(name.value): \(top.rawValue)', or add a probe for '\(layer.value.rawValue)' to '\(name.value)'"
                )
            }
        }
        if let cycle = DependencyGraph(self.manifest.processes + self.manifest.incomplete).cycle() {
            let names = cycle.map(\.name.value)
            let path = (names + names.prefix(1)).joined(separator: " -> ")
            self.error(
                at: cycle[0].dependsOn.first { $0.process.value == (names.count > 1 ? names[1] : names[0]) }?.process
                    .location
                    ?? cycle[0].name.location,
                "the processes wait for each other: \(path)",
                remedy: "remove one of these dependencies"
            )
        } else {
            self.checkDeadlock(processes)
        }
    }

    private mutating func unknownDependency(_ name: Located<String>, _ known: [String]) {
        let isExternal =
            name.value == "nats" && self.manifest.nats != nil || name.value == "etcd" && self.manifest.etcd != nil
        guard !isExternal else {
            self.error(
                at: name.location,
                "\(name.value) runs elsewhere and is asked before anything is started",
                remedy: "remove the dependency"
            )
            return
        }
        self.unknownProcess(name, among: known)
    }

    /// A frontend lists a model only when a worker serves it, so not every worker can wait for that.
    private mutating func checkDeadlock(_ processes: [String: ProcessManifest]) {
        // Who cannot start before a model is listed, and the place that says so.
        var needsModel: [String: Location] = [:]
        var pending: [String] = []
        var waiters: [String: [String]] = [:]
        for process in self.manifest.processes {
            for dependency in process.dependsOn {
                guard let target = processes[dependency.process.value] else { continue }
                waiters[target.name.value, default: []].append(process.name.value)
                guard target.role == .frontend, needsModel[process.name.value] == nil,
                    ReadinessRules.layer(of: target, for: process, dependency) >= .modelListed
                else { continue }
                needsModel[process.name.value] = (dependency.layer?.location ?? dependency.process.location)
                pending.append(process.name.value)
            }
        }
        while let name = pending.popLast() {
            for waiter in waiters[name] ?? [] where needsModel[waiter] == nil {
                needsModel[waiter] = needsModel[name]
                pending.append(waiter)
            }
        }
        let workers = self.manifest.processes.filter { $0.role == .worker && $0.replicas > 0 }
        guard let first = workers.first, let location = needsModel[first.name.value],
            workers.allSatisfy({ needsModel[$0.name.value] != nil })
        else { return }
        self.error(
            at: location,
            "worker '\(first.name.value)' would wait for a model that a frontend lists, "
                + "and a frontend lists one only when a worker serves it",
            remedy: "write 'health' instead, which a frontend reaches by itself"
        )
    }
}

/// Who waits for whom, by name.
struct DependencyGraph {
    private let processes: [ProcessManifest]
    private let indices: [String: Int]

    init(_ processes: [ProcessManifest]) {
        self.processes = processes
        self.indices = Dictionary(
            processes.enumerated().map { ($0.element.name.value, $0.offset) },
            uniquingKeysWith: { first, _ in first }
        )
    }

    private func targets(of index: Int) -> [Int] {
        self.processes[index].dependsOn.compactMap { self.indices[$0.process.value] }
    }

    /// Whether a process waits, directly or not, for nothing but infrastructure: then everybody can wait for it.
    func needsOnlyInfrastructure(_ name: String) -> Bool {
        var seen: Set<Int> = []
        var pending = self.indices[name].map { [$0] } ?? []
        while let index = pending.popLast() {
            guard self.processes[index].role == .infrastructure else { return false }
            if seen.insert(index).inserted { pending += self.targets(of: index) }
        }
        return true
    }

    /// The processes of one cycle in order, beginning with the one that stands first in the manifest.
    func cycle() -> [ProcessManifest]? {
        enum Mark { case new, open, done }
        var marks = [Mark](repeating: .new, count: self.processes.count)
        for start in self.processes.indices where marks[start] == .new {
            // Without recursion: a chain may be as long as the manifest.
            var path: [(index: Int, next: Int)] = [(start, 0)]
            marks[start] = .open
            while let last = path.last {
                let targets = self.targets(of: last.index)
                guard last.next < targets.count else {
                    marks[last.index] = .done
                    path.removeLast()
                    continue
                }
                path[path.count - 1].next += 1
                let target = targets[last.next]
                switch marks[target] {
                case .done: break
                case .new:
                    marks[target] = .open
                    path.append((target, 0))
                case .open:
                    guard let begin = path.firstIndex(where: { $0.index == target }) else { break }
                    let members = path[begin...].map(\.index)
                    let first = members.min() ?? target
                    let offset = members.firstIndex(of: first) ?? 0
                    return (members[offset...] + members[..<offset]).map { self.processes[$0] }
                }
            }
        }
        return nil
    }
}
