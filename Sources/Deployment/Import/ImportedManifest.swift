/// A manifest that starts what a script starts.
package struct ImportedManifest: Sendable {
    package let name: String
    package let text: String
    /// What it has otherwise, by line.
    package let findings: [ScriptFinding]
    /// How many processes the script starts.
    package let processes: Int

    /// - Parameters:
    ///   - script: the text of the script.
    ///   - file: its name, for messages.
    ///   - name: the deployment's; nil: after the script.
    /// - Throws: `ShellSyntaxError` when it is no script of bash.
    package init(_ script: String, file: String, name: String? = nil) throws(ShellSyntaxError) {
        let base = file.split(separator: "/").last.map(String.init) ?? file
        let reading = try ScriptReading(script, name: base)
        var writer = ImportWriter(reading, name: name ?? Self.name(file))
        writer.write()
        self.name = writer.name
        self.text = writer.lines.joined(separator: "\n") + "\n"
        self.findings = writer.findings.sorted { $0.line < $1.line }
        self.processes = reading.processes.count
    }

    /// `disagg-router` of `launch/disagg_router.sh`.
    private static func name(_ file: String) -> String {
        let base = file.split(separator: "/").last.map { $0.prefix { $0 != "." } } ?? ""
        let text = base.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }
        let name = String(String(text).drop { $0 == "-" }.prefix(60)).trimmingDashes
        return name.isEmpty || name == "dynamo" ? "imported" : name
    }
}

extension String {
    fileprivate var trimmingDashes: String {
        var text = self
        while text.last == "-" { text.removeLast() }
        return text
    }
}

/// Writes it.
private struct ImportWriter {
    let name: String
    private let file: String
    private(set) var lines: [String] = []
    private(set) var findings: [ScriptFinding]
    private var entries: [ScriptedReplicas] = []
    /// What owned variables are, said by a flag or a variable, and where.
    private var settings: [OwnedVariable: (text: String, line: Int)] = [:]
    private var frontendPorts: [Int: String] = [:]

    init(_ reading: ScriptReading, name: String) {
        self.name = name
        self.file = reading.name
        self.findings = reading.findings
        for (place, process) in reading.processes.enumerated() {
            guard let replica = self.replica(process, place) else { continue }
            self.entries.append(replica)
        }
        self.merge()
    }

    private mutating func note(_ line: Int, _ message: String) {
        self.findings.append(.init(.note, line: line, message))
    }
    /// A script may be nobody else's to read; what is made of it may be committed.
    private mutating func noteSecret(_ name: String, _ line: Int) {
        let message = "\(name) is a secret and not written: it must be set where 'up' is called"
        if !self.findings.contains(where: { $0.message == message }) { self.note(line, message) }
    }
    private mutating func lose(_ line: Int, _ message: String) {
        self.findings.append(.init(.lost, line: line, message))
    }

    // MARK: Processes

    private mutating func replica(_ process: ScriptedProcess, _ place: Int) -> ScriptedReplicas? {
        var words = process.words.map(\.text)
        for index in words.indices.prefix(3) { words[index] = process.words[index].assumed ?? words[index] }
        guard var invocation = DynamoInvocation(words) else { return nil }
        // The interpreter may come from a variable.
        if invocation.python != nil { invocation.python = process.words[0].text }
        invocation.pythonOptions.removeAll { $0 == "-u" }
        let role = invocation.role
        for flag in PlaneFlag.all where role == .frontend || !flag.isFrontendOnly {
            if let value = invocation.value(of: flag.flag) { self.set(flag.variable, value, place, process.line, role) }
        }
        let flags = PlaneFlag.all.filter { role == .frontend || !$0.isFrontendOnly }.map(\.flag)
        invocation.arguments = DynamoInvocation.removing(Set(flags), from: invocation.arguments)
        for (_, what) in Secrets.credentials(in: invocation.arguments) {
            self.note(process.line, "\(what) is written as it is in the script: take it from a variable")
        }
        var environment: [String: String] = [:]
        var system: String?
        var gpus: [String]?
        for (name, value) in process.environment.sorted(by: { $0.key < $1.key }) {
            if name == "DYN_SYSTEM_PORT" {
                if role == .frontend {
                    self.note(
                        process.line,
                        "DYN_SYSTEM_PORT of the frontend is left out: it answers /metrics on its own port"
                    )
                } else if !["", "0", "-1"].contains(value.text) {
                    system = value.text
                }
            } else if name == "CUDA_VISIBLE_DEVICES" || name == "ZE_AFFINITY_MASK" {
                gpus =
                    value.text.isEmpty
                    ? nil : value.plain.map { $0.split(separator: ",").map(String.init) } ?? [value.text]
            } else if let owned = OwnedVariable(rawValue: name), !owned.isFree || owned == .systemEnabled {
                if owned != .systemEnabled { self.set(owned, value.text, place, process.line, role) }
            } else if let plain = value.plain, !plain.isEmpty,
                Secrets.isSecret(name: name, value: plain) || Secrets.credential(in: plain) != nil
            {
                environment[name] = "${\(name)}"
                self.noteSecret(name, process.line)
            } else if name != "PYTHONUNBUFFERED" {
                environment[name] = value.text
            }
        }
        return ScriptedReplicas(
            line: process.line,
            invocation: invocation,
            environment: environment,
            system: system,
            gpus: role == .worker ? gpus : nil,
            unset: process.unset,
            workingDirectory: process.workingDirectory,
            takesArguments: process.takesArguments,
            waitsFor: process.waitsFor,
            members: [place]
        )
    }

    /// What is for the whole deployment is said once.
    private mutating func set(_ owned: OwnedVariable, _ value: String, _ place: Int, _ line: Int, _ role: Role) {
        if owned == .httpPort {
            if role == .frontend { self.frontendPorts[place] = value }
            return
        }
        guard role == .frontend || owned != .httpHost else { return }
        if let known = self.settings[owned], known.text != value {
            self.lose(
                line,
                "\(owned.rawValue) is '\(value)' here and '\(known.text)' in line \(known.line): the manifest has the latter"
            )
        } else if self.settings[owned] == nil {
            self.settings[owned] = (value, line)
        }
    }

    /// Neighbours that are copies become replicas.
    private mutating func merge() {
        var merged: [ScriptedReplicas] = []
        var index = 0
        while index < self.entries.count {
            var end = index + 1
            var best = self.entries[index]
            while end < self.entries.count, self.entries[index].invocation.role != .frontend,
                let longer = ScriptedReplicas.merged(Array(self.entries[index...end]))
            {
                best = longer
                end += 1
            }
            merged.append(best)
            index = end
        }
        self.entries = merged
    }

    // MARK: Lines

    mutating func write() {
        self.lines.append("# Made by 'dynamo-launch import' from \(self.file).")
        let lost = self.findings.filter { $0.kind == .lost }
        for finding in lost.sorted(by: { $0.line < $1.line }) {
            self.lines.append("# line \(finding.line): \(finding.message)")
        }
        self.lines.append("name: \(YAMLText.scalar(self.name))")
        self.planes()
        self.discovery()
        let frontends = self.entries.indices.filter { self.entries[$0].invocation.role == .frontend }
        if let first = frontends.first, let port = self.frontendPorts[self.entries[first].members[0]] {
            self.lines += ["http:", "  port: \(YAMLText.value(port))"]
        }
        if let host = self.settings[.httpHost] {
            if frontends.first.flatMap({ self.frontendPorts[self.entries[$0].members[0]] }) == nil {
                self.lines.append("http:")
            }
            self.lines.append("  host: \(YAMLText.scalar(host.text))")
        }
        let pythons = self.entries.compactMap(\.invocation.python)
        let counts = Dictionary(grouping: pythons) { $0 }.mapValues(\.count)
        // Scripts say python and python3 for the same.
        let python = counts.max { ($0.value, $0.key) < ($1.value, $1.key) }?.key
        if let python { self.lines += ["dynamo:", "  python: \(YAMLText.scalar(python))"] }
        let shared = ManifestEntry.shared(self.entries.map(\.environment))
        if !shared.isEmpty {
            self.lines.append("env:")
            for (name, value) in shared.sorted(by: { $0.key < $1.key }) {
                self.lines.append("  \(name): \(YAMLText.value(value))")
            }
        }
        let names = ManifestEntry.names(self.entries.map(\.invocation.baseName))
        let passing = self.entries.indices.filter { self.entries[$0].takesArguments }
        if let first = passing.first { self.lines.append("passthrough: \(names[first])") }
        for index in passing.dropFirst() {
            self.lose(
                self.entries[index].line,
                "arguments after '--' go to '\(names[passing[0]])' only, in the script to this process too"
            )
        }
        self.lines += ["", "processes:"]
        for (index, entry) in self.entries.enumerated() {
            if index > 0 { self.lines.append("") }
            self.lines += self.entry(entry, names, isFirstFrontend: index == frontends.first).lines(
                python: python.map { ["python", "python3"].contains($0) ? entry.invocation.python ?? $0 : $0 },
                shared: shared
            )
        }
    }

    private func entry(_ entry: ScriptedReplicas, _ names: [String], isFirstFrontend: Bool) -> ManifestEntry {
        let index = self.entries.firstIndex { $0.members == entry.members } ?? 0
        var result = ManifestEntry(
            name: names[index],
            program: entry.invocation.program,
            role: entry.invocation.role
        )
        result.python = entry.invocation.python
        result.pythonOptions = entry.invocation.pythonOptions
        result.arguments = entry.invocation.arguments
        result.replicas = entry.members.count
        result.gpus = entry.gpus.map { "[\($0.map(YAMLText.value).joined(separator: ", "))]" }
        if !isFirstFrontend, entry.invocation.role == .frontend, let port = self.frontendPorts[entry.members[0]] {
            result.ports.append(("http", port))
        }
        if let system = entry.system { result.ports.append(("system", system)) }
        self.publish(&result)
        result.environment = entry.environment
        result.unset = entry.unset
        result.workingDirectory = entry.workingDirectory
        result.dependsOn = entry.waitsFor.flatMap { place in
            self.entries.firstIndex { $0.members.contains(place) }.map { names[$0] }
        }
        return result
    }

    /// The port of KV events is one of the process's, so that nobody else gets it.
    private func publish(_ entry: inout ManifestEntry) {
        guard let index = entry.arguments.firstIndex(of: "--kv-events-config"), index + 1 < entry.arguments.count,
            // vLLM adds the rank to the port.
            !entry.arguments.contains("--data-parallel-rank"),
            let match = entry.arguments[index + 1].firstMatch(of: /"endpoint"\s*:\s*"tcp:\/\/\*:(\d+|\{\{[^{}]*\}\})"/)
        else { return }
        entry.ports.append(("kv", String(match.1)))
        entry.arguments[index + 1].replaceSubrange(match.1.startIndex..<match.1.endIndex, with: "{{port.kv}}")
    }

    // MARK: The deployment

    private mutating func planes() {
        let durable = [OwnedVariable.durableEvents, .routerDurableEvents].contains { self.settings[$0]?.text == "true" }
        var parts = ["request: \(YAMLText.scalar(self.settings[.requestPlane]?.text ?? "tcp"))"]
        if let events = self.settings[.eventPlane]?.text {
            parts.append("events: \(durable ? "jetstream" : events == "nats" ? "nats-core" : YAMLText.scalar(events))")
        } else if durable {
            parts.append("events: jetstream")
        }
        if let response = self.settings[.responsePlane]?.text { parts.append("response: \(YAMLText.scalar(response))") }
        self.lines.append("planes: {\(parts.joined(separator: ", "))}")
        self.lines += ["infrastructure:", "  # Used only when a plane is NATS."]
        self.lines.append("  nats: \(self.settings[.natsServer].map { YAMLText.scalar($0.text) } ?? "managed")")
    }

    private mutating func discovery() {
        let backend = self.settings[.discoveryBackend] ?? self.settings[.storeKV]
        if let endpoints = self.settings[.etcdEndpoints], backend.map({ $0.text == "etcd" }) ?? true {
            self.lines += ["discovery:", "  backend: etcd", "  endpoints: [\(YAMLText.scalar(endpoints.text))]"]
        } else if let backend, backend.text != "file" {
            self.lines.append("discovery: \(YAMLText.scalar(backend.text))")
            if backend.text == "etcd" { self.lines.insert("  etcd: http://localhost:2379", at: self.lines.count - 1) }
        } else {
            self.lines.append("discovery: file")
            let line = backend?.line ?? self.entries.first?.line ?? 1
            if backend == nil {
                self.note(
                    line,
                    "processes find each other through files instead of etcd, which the script expects to run"
                )
            }
            if self.settings[.fileKV] != nil { self.note(line, "discovery is a folder of the launcher's own") }
        }
        if let namespace = self.settings[.namespace] {
            if namespace.text == "dynamo" {
                self.note(
                    namespace.line,
                    "the Dynamo namespace is '\(self.name)' instead of 'dynamo', which a frontend takes for all namespaces"
                )
            } else if namespace.text != self.name {
                self.lines.append("namespace: \(YAMLText.scalar(namespace.text))")
            }
        }
        for owned in [OwnedVariable.namespacePrefix, .namespaceSuffix] {
            guard let setting = self.settings[owned] else { continue }
            self.lose(setting.line, "\(owned.rawValue): every process has exactly the deployment's namespace")
        }
    }
}
