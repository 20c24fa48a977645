/// The interpreter that runs Dynamo's processes.
struct Interpreter: Sendable, Hashable {
    /// Absolute path.
    var path: String
    var release: DynamoRelease?
    /// Where it is named.
    var location: Location
}

extension Planner {
    /// The interpreter of each process that is a Python module or Dynamo's own, by process.
    mutating func interpreters() -> [String: Interpreter] {
        var result: [String: Interpreter] = [:]
        var detected: [String: Result<DynamoRelease, ReleaseProblem>] = [:]
        for process in self.manifest.processes {
            let python: Located<String>
            switch process.program {
            case .module(_, let own): python = own ?? self.manifest.dynamo.python
            case .command(let words) where process.isDynamo:
                guard let word = words.first, let program = word.value.literal else { continue }
                python = Located(program, word.location)
            case .command, .builtin: continue
            }
            guard let path = self.executable(python.value) else {
                // One interpreter of many processes is one error.
                if self.diagnostics.contains(where: { $0.location == python.location }) { continue }
                self.error(
                    at: python.location,
                    "the interpreter '\(Spelling.excerpt(python.value))' of process '\(process.name.value)' "
                        + (python.value.contains("/") ? "cannot be run" : "is not on PATH"),
                    remedy:
                        "install it, activate the environment that has Dynamo, or write 'dynamo: {python: /path/to/python}'"
                )
                continue
            }
            var interpreter = Interpreter(
                path: path,
                release: self.manifest.dynamo.release?.value,
                location: python.location
            )
            if process.isDynamo, interpreter.release == nil {
                let answer = detected[path] ?? self.facts.detectRelease(path)
                if detected[path] == nil, case .failure(let problem) = answer {
                    self.error(
                        at: python.location,
                        "the release of Dynamo in '\(path)' is unknown: \(problem.reason)",
                        remedy: "install ai-dynamo there, or state the release: 'dynamo: {release: 1.2.1}'"
                    )
                }
                detected[path] = answer
                interpreter.release = try? answer.get()
            }
            result[process.name.value] = interpreter
        }
        return result
    }

    /// The releases that take part, oldest first.
    private func releases(of interpreters: [String: Interpreter]) -> [DynamoRelease] {
        guard self.manifest.usesDynamo else { return [] }
        if let stated = self.manifest.dynamo.release?.value { return [stated] }
        let dynamo = self.manifest.processes.filter(\.isDynamo)
        return Set(dynamo.compactMap { interpreters[$0.name.value]?.release }).sorted()
    }

    /// The oldest release that takes part: what it lacks, the deployment cannot use.
    mutating func release(of interpreters: [String: Interpreter]) -> DynamoRelease? {
        let releases = self.releases(of: interpreters)
        if releases.count > 1 {
            let list = releases.map(\.description).joined(separator: " and ")
            self.notes.append(
                "processes run different releases of Dynamo (\(list)); the planes are chosen for the oldest"
            )
        }
        for release in releases {
            if let note = ReleaseKnowledge.row(for: release).note { self.notes.append(note) }
        }
        return releases.first
    }

    /// What a release does not have.
    mutating func checkReleases(_ interpreters: [String: Interpreter]) {
        let planes = self.manifest.planes
        for release in self.releases(of: interpreters) {
            let row = ReleaseKnowledge.row(for: release).row
            let request = planes.request.value
            if !row.requestPlanes.contains(request) {
                let others = row.requestPlanes.map { "--\($0.rawValue)" }.joined(separator: " or ")
                self.error(
                    at: planes.request.location,
                    "Dynamo \(release) has no \(request.rawValue) request plane: "
                        + "only releases \(ReleaseKnowledge.lines(with: request)) have it",
                    remedy: "use \(others), or install Dynamo 1.2.1"
                )
            }
            if let events = planes.events, events.value == .jetstream, !row.hasDurableEvents {
                self.error(
                    at: events.location,
                    "Dynamo \(release) has no durable KV events: only releases 1.0 to 1.3 read them from JetStream",
                    remedy: "write 'events: nats-core' or 'events: zmq', or install Dynamo 1.2.1"
                )
            }
            if !row.responsePlanes.contains(planes.response.value) {
                self.error(
                    at: planes.response.location,
                    "Dynamo \(release) has no \(planes.response.value.rawValue) response plane: only releases from 1.6 on have it",
                    remedy: "remove 'response', or install Dynamo 1.6.1"
                )
            }
        }
        for process in self.manifest.processes where process.isDynamo {
            guard let release = interpreters[process.name.value]?.release else { continue }
            self.checkFeatures(of: process, release)
            self.checkFlags(of: process, release)
        }
    }

    /// Misspelt flags of our own programs, which would end with an error.
    mutating func checkBuiltinFlags() {
        for process in self.manifest.processes {
            guard case .builtin(let builtin) = process.program else { continue }
            self.checkFlags(process, KnownFlags.flags(of: builtin), of: builtin.program, takesPrefixes: false)
        }
    }

    /// Misspelt flags of Dynamo's programs, where all of them are known.
    private mutating func checkFlags(of process: ProcessManifest, _ release: DynamoRelease) {
        guard let module = process.module else { return }
        let component = DynamoModules.component(of: module)
        guard module == "dynamo.\(component)", var known = KnownFlags.flags(of: component, in: release) else { return }
        // With one of these a frontend takes the flags of an engine, too.
        let takesMore =
            self.words(of: process).contains { $0.value.literal?.contains("chat-processor") == true }
            || (process.environment + self.manifest.environment).contains { $0.name.value.contains("CHAT_PROCESSOR") }
        if takesMore { return }
        // Of those it has been said what has become of them.
        for feature in ReleaseFeature.all {
            if case .flag(let flag) = feature.kind { known.insert(flag) }
        }
        self.checkFlags(process, known, of: "\(module) \(release)", takesPrefixes: true)
    }

    private mutating func checkFlags(
        _ process: ProcessManifest,
        _ known: Set<String>,
        of program: String,
        takesPrefixes: Bool
    ) {
        let words = self.words(of: process)
        // What comes before the module is for the interpreter.
        let module = words.firstIndex { $0.value.literal == process.module }
        for word in words[(module ?? words.startIndex)...] {
            guard let text = word.value.literal else { continue }
            if text == "--" { break }
            guard text.hasPrefix("--") else { continue }
            let flag = String(text.prefix { $0 != "=" })
            if known.contains(flag) || takesPrefixes && known.contains(where: { $0.hasPrefix(flag) }) { continue }
            // What is like none of them is left to the program.
            guard let nearest = Spelling.nearest(to: flag, among: known.sorted()) else { continue }
            self.error(
                at: word.location,
                "\(program) has no flag '\(Spelling.excerpt(flag))'",
                remedy: "did you mean '\(nearest)'?"
            )
        }
    }

    private mutating func checkFeatures(of process: ProcessManifest, _ release: DynamoRelease) {
        guard let module = process.module else { return }
        let component = DynamoModules.component(of: module)
        let words = self.words(of: process)
        for feature in ReleaseFeature.all where !feature.exists(in: release) {
            if let owner = feature.component, owner != component { continue }
            switch feature.kind {
            case .flag(let flag):
                guard let word = words.first(where: { Self.isFlag($0, flag) }) else { continue }
                self.report("'\(flag)'", feature, release, at: word.location)
            case .module(let name):
                guard module.split(separator: ".").last.map(String.init) == name else { continue }
                self.report("'\(module)'", feature, release, at: process.programLocation)
            case .variable(let name):
                let entries = process.environment + self.manifest.environment
                guard let entry = entries.first(where: { $0.name.value == name }) else { continue }
                self.report("'\(name)'", feature, release, at: entry.name.location)
            }
        }
        if component == "vllm", release >= DynamoRelease(1, 0, 0) { self.checkTransfer(words, release) }
    }

    /// A vLLM worker that computes prompts must be told how it hands them over.
    ///
    /// Since 1.0 there is no default; the worker would end after it has loaded its engine.
    private mutating func checkTransfer(_ words: [Located<Template>], _ release: DynamoRelease) {
        // A file of vLLM's may say it.
        guard !words.contains(where: { Self.isFlag($0, "--kv-transfer-config") || Self.isFlag($0, "--config") }) else {
            return
        }
        // Where that flag is not known, this has been said.
        let old = ReleaseFeature.all.first { $0.kind == .flag("--is-prefill-worker") && $0.exists(in: release) }
        var prefill = old.flatMap { _ in words.first { Self.isFlag($0, "--is-prefill-worker") } }
        if let index = words.lastIndex(where: { Self.isFlag($0, "--disaggregation-mode") }) {
            let isNext = words[index].value.literal == "--disaggregation-mode" && words[safe: index + 1] != nil
            let word = words[isNext ? index + 1 : index]
            let mode = word.value.literal?.split(separator: "=").last.map(String.init)
            prefill = mode == "prefill" ? word : prefill
        }
        guard let prefill else { return }
        self.error(
            at: prefill.location,
            "Dynamo \(release) has no default for how a vLLM worker hands over prompts, and '--kv-transfer-config' is missing",
            remedy: #"add '--kv-transfer-config', '{"kv_connector":"NixlConnector","kv_role":"kv_both"}'"#
        )
    }

    /// Its arguments as the manifest and the command line have them.
    private func words(of process: ProcessManifest) -> [Located<Template>] {
        var words = process.arguments
        if case .command(let command) = process.program { words = command + words }
        guard self.manifest.passthrough?.value == process.name.value else { return words }
        return words
            + self.facts.passthroughArguments.map {
                Located(Template(literal: $0), Location(file: Self.passthroughFile))
            }
    }

    private static func isFlag(_ word: Located<Template>, _ flag: String) -> Bool {
        guard let text = word.value.literal else { return false }
        return text == flag || text.hasPrefix("\(flag)=")
    }

    private mutating func report(
        _ what: String,
        _ feature: ReleaseFeature,
        _ release: DynamoRelease,
        at location: Location
    ) {
        let message = "Dynamo \(release) does not know \(what): \(feature.releases)"
        // A variable of all processes is one error.
        guard !self.diagnostics.contains(where: { $0.location == location && $0.message == message }) else { return }
        self.error(at: location, message, remedy: feature.remedy)
    }

    /// The absolute path of a program that the manifest names by path or by name.
    func executable(_ program: String, searching path: String? = nil) -> String? {
        guard program.contains("/") else { return self.facts.onPath(program, path: path) }
        let path = FilePathText.resolve(program, against: self.manifestDirectory)
        return self.facts.isExecutable(path) ? path : nil
    }
}
