// The key of a process whose engine publishes KV events of its own.

extension ProcessDecoder {
    /// Reads `kvEvents`: a mapping, or the engine's address alone.
    mutating func kvEvents(_ entry: ManifestNode.Entry) -> KVEventsManifest? {
        guard case .mapping = entry.value.content else {
            guard let engine = self.address(entry.value, "'kvEvents'") else { return nil }
            return KVEventsManifest(engine: engine, ranks: 1, location: entry.keyLocation)
        }
        guard let fields = self.node.fields(entry.value, of: "'kvEvents'", keys: ManifestKey.kvEvents) else {
            return nil
        }
        let engine = fields["engine"].flatMap { self.address($0.value, "'kvEvents.engine'") }
        if fields["engine"] == nil {
            self.node.error(
                at: entry.keyLocation,
                "'kvEvents' does not say where the engine publishes",
                remedy: "add 'engine: tcp://127.0.0.1:{{port.kv}}', the address of its ZeroMQ publisher"
            )
        }
        let replay = fields["replay"].flatMap { self.address($0.value, "'kvEvents.replay'") }
        let topic = fields["topic"].flatMap { self.template($0.value, "'kvEvents.topic'") }
        let size = fields["blockSize"].flatMap {
            self.node.integer($0.value, "'kvEvents.blockSize'", in: 1...65536)?.value
        }
        let ranks = fields["ranks"].flatMap { self.node.integer($0.value, "'kvEvents.ranks'", in: 1...1024)?.value }
        let endpoint = fields["endpoint"].flatMap { self.kvEndpoint($0.value) }
        return engine.map {
            KVEventsManifest(
                engine: $0,
                replay: replay,
                topic: topic,
                blockSize: size,
                ranks: ranks ?? 1,
                endpoint: endpoint,
                location: entry.keyLocation
            )
        }
    }

    private mutating func address(_ node: ManifestNode, _ what: String) -> Located<Template>? {
        // Says that it is empty, or no text.
        guard self.node.text(node, what) != nil else { return nil }
        return self.template(node, what)
    }

    private mutating func kvEndpoint(_ node: ManifestNode) -> KVEndpoint? {
        guard let text = self.node.text(node, "'kvEvents.endpoint'") else { return nil }
        let parts = text.value.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, parts.allSatisfy({ $0.wholeMatch(of: /[A-Za-z0-9_-]+/) != nil }) else {
            self.node.error(
                at: text.location,
                "'\(Spelling.excerpt(text.value))' is no endpoint",
                remedy: "write component.endpoint, for example backend.generate; the namespace is the deployment's"
            )
            return nil
        }
        return KVEndpoint(component: parts[0], endpoint: parts[1])
    }
}

extension ManifestValidation {
    /// Whether the launcher can, and should, publish for a process.
    mutating func checkKVEvents() {
        for process in self.manifest.processes {
            guard let events = process.kvEvents else { continue }
            let name = process.name.value
            if process.role != .worker {
                self.error(
                    at: events.location,
                    "'kvEvents' belongs to a worker, and process '\(name)' is a \(process.role.rawValue)",
                    remedy: "move it to the process that runs the engine"
                )
                continue
            }
            self.checkPublisher(of: process, events)
            if !process.hasSystemServer, !process.ports.contains(where: { $0.name.value == "system" }) {
                self.error(
                    at: events.location,
                    "the launcher publishes KV events under the worker's own instance, which the worker's system server names, "
                        + "and process '\(name)' has no port 'system'",
                    remedy: "add 'ports: {system: auto}'; the program gets the number as DYN_SYSTEM_PORT"
                )
            }
            for address in [events.engine, events.replay].compactMap(\.self)
            where process.replicas > 1 && address.value.literal != nil {
                self.error(
                    at: address.location,
                    "\(process.replicas) replicas of '\(name)' cannot share the engine at "
                        + "'\(Spelling.excerpt(address.value.literal ?? ""))'",
                    remedy: "use a port of each replica: 'ports: {kv: auto}' and tcp://127.0.0.1:{{port.kv}}"
                )
            }
        }
    }

    /// A worker that publishes by itself: two publishers of one worker would count its events against each other.
    private mutating func checkPublisher(of process: ProcessManifest, _ events: KVEventsManifest) {
        let words = process.arguments.map { $0.value.literal ?? "" }
        if let module = process.module, process.isDynamo, !words.contains("--durable-kv-events") {
            self.error(
                at: events.location,
                "'\(module)' of process '\(process.name.value)' publishes the KV events of its engine itself, "
                    + "so 'kvEvents' would publish them twice",
                remedy: "remove 'kvEvents'; it is for workers without Dynamo's publisher"
            )
        }
        guard process.isBuiltin else { return }
        let isMock = zip(words, words.dropFirst()).contains { $0 == "--engine" && $1 == "mock" }
        if isMock || words.contains("--engine=mock") {
            self.error(
                at: events.location,
                "the mock engine of process '\(process.name.value)' publishes its KV events itself, "
                    + "so 'kvEvents' would publish them twice",
                remedy: "remove 'kvEvents', or '--engine mock'"
            )
        } else if let flag = words.first(where: { $0.hasPrefix("--relay-kv-events") }) {
            self.error(
                at: events.location,
                "process '\(process.name.value)' takes KV events from an engine itself (\(flag)), "
                    + "so 'kvEvents' would publish them twice",
                remedy: "keep one of the two"
            )
        }
    }
}
