// What must not be read by everybody who may read the objects.

extension ClusterPlanner {
    /// The values of variables whose names say that they are secret, and of those that `kubernetes.secrets` names.
    private var secretValues: [String] {
        self.options.environment.filter { name, value in
            value.utf8.count >= 4 && !self.settings.publicVariables.contains(name)
                && (Secrets.isSecret(name: name, value: value) || self.settings.secrets[name] != nil)
        }
        .map(\.value)
    }

    private func hasSecret(_ text: String) -> Bool { self.secretValues.contains(where: text.contains) }

    /// Whether a text is made of a secret variable, and more than the beginning of it is there.
    private static func isSecret(_ template: Template) -> Bool {
        let text = template.literal ?? "?"
        return template.isSecret && !text.isEmpty && !text.hasSuffix("=")
    }

    // MARK: Variables

    /// What the objects say of a variable of a process: its value, or where that comes from.
    func value(of variable: EnvironmentVariable, in process: ProcessManifest) -> ClusterVariable.Value {
        let name = variable.name
        guard !self.settings.publicVariables.contains(name) else { return .text(variable.value) }
        let entries = self.manifest.environment + process.environment
        let template = entries.last { $0.name.value == name }?.value
        let isNamed = self.settings.secrets[name] != nil
        let isOptional = !isNamed && template?.isOptional ?? false
        // Who writes "" wants nothing there.
        let isSecret =
            isNamed || variable.secret && (!variable.value.isEmpty || isOptional || template?.isSecret ?? false)
            || self.hasSecret(variable.value) || Secrets.credential(in: variable.value) != nil
        guard isSecret else { return .text(variable.value) }
        var key = self.secretKey(name)
        key.isOptional = isOptional
        return .secret(key)
    }

    /// Where a variable's value comes from in a cluster.
    private func secretKey(_ variable: String) -> KubernetesSettings.SecretKey {
        self.settings.secrets[variable]
            ?? KubernetesSettings.SecretKey(secret: "\(self.manifest.name.value)-secrets", key: variable)
    }

    /// Where a URL leads, without user, path and query; nil: it is none.
    static func shown(url text: String) -> String? {
        text.wholeMatch(of: /([A-Za-z][A-Za-z0-9+.\-]*:\/\/)(?:[^\/?#\s]*@)?([^\/?#@\s]+)(?:[\/?#]\S*)?/)
            .map { "\($0.1)\($0.2)" }
    }

    // MARK: What an object shows of a process

    /// Refuses secrets in its command, its folder and its probes.
    mutating func checkSecrets(_ process: ProcessManifest, _ replica: ReplicaPlan) {
        let name = process.name.value
        self.checkArguments(process, replica)
        for (text, what, remedy) in [
            (replica.executable, "the program", "write its path without it"),
            (replica.workingDirectory, "the working directory", "choose another folder"),
        ] where self.hasSecret(text) {
            self.refuseSecret("\(what) of process '\(name)'", at: process.name.location, remedy)
        }
        for layer in replica.readiness {
            let texts = Self.texts(of: layer.probe)
            let looks = process.kubernetes.publicArguments ? [] : Secrets.credentials(in: texts)
            guard texts.contains(where: self.hasSecret) || !looks.isEmpty else { continue }
            let place = process.probes.first { $0.layer == layer.layer }?.location
            let what = looks.first.map { " (\($0.what))" } ?? ""
            self.refuseSecret(
                "the probe '\(layer.layer.rawValue)' of process '\(name)'\(what)",
                at: place ?? process.name.location,
                "let it ask a question without one, or a program that takes it from its environment"
                    + (looks.isEmpty
                        ? "" : "; if it is none, write 'kubernetes: {publicArguments: true}' for the process")
            )
        }
    }

    private mutating func checkArguments(_ process: ProcessManifest, _ replica: ReplicaPlan) {
        // As the plan has them: the rest of a command or Python's '-m MODULE', 'args', and what stands after '--'.
        var places: [(what: String, location: Location, isSecret: Bool)] = []
        switch process.program {
        case .command(let words):
            places = words.enumerated().dropFirst()
                .map { ("word \($0 + 1) of 'command'", $1.location, Self.isSecret($1.value)) }
        case .module: places = Array(repeating: ("the module", process.programLocation, false), count: 2)
        case .builtin: break
        }
        places += process.arguments.enumerated().map { ("argument \($0 + 1)", $1.location, Self.isSecret($1.value)) }
        let looks = process.kubernetes.publicArguments ? [] : Secrets.credentials(in: replica.arguments)
        for (index, text) in replica.arguments.enumerated() {
            let place =
                places[safe: index]
                ?? ("argument \(index - places.count + 1) after '--'", Location(file: Planner.passthroughFile), false)
            let look = looks.first { $0.index == index }
            guard look != nil || place.isSecret || self.hasSecret(text) else { continue }
            self.refuseSecret(
                "\(place.what) of process '\(process.name.value)'\(look.map { " (\($0.what))" } ?? "")",
                at: place.location,
                "give it to the process under 'env', where it comes from a Secret, or as a file of a Secret "
                    + "('kubernetes: {volumes: [{secret: NAME, ...}]}')"
                    + (look == nil
                        ? "" : "; if it is none, write 'kubernetes: {publicArguments: true}' for the process")
            )
        }
    }

    // MARK: Servers

    /// Refuses secrets in the arguments of a server that the deployment brings along.
    mutating func checkSecrets(
        _ service: ManagedService,
        _ arguments: [String],
        called name: String,
        at location: Location
    ) {
        let looks = Secrets.credentials(in: arguments).first
        guard
            looks != nil || service.arguments.contains(where: Self.isSecret)
                || arguments.contains(where: self.hasSecret)
        else { return }
        self.refuseSecret(
            "an argument of 'infrastructure.\(name)'\(looks.map { " (\($0.what))" } ?? "")",
            at: location,
            "name a server that runs already under 'kubernetes.\(name)'"
        )
    }

    /// Refuses a server's URL with a password, or with another secret.
    mutating func checkSecrets(_ urls: [Located<String>], called name: String, _ remedy: String) {
        for url in urls
        where Secrets.masking(url: url.value) != url.value || self.hasSecret(url.value)
            || Secrets.credential(in: url.value) != nil
        {
            self.diagnostics.append(
                Diagnostic(
                    at: url.location,
                    "the \(name) server's URL has a password in it, which everybody could read in the objects",
                    remedy: remedy
                )
            )
        }
    }

    private mutating func refuseSecret(_ what: String, at location: Location, _ remedy: String) {
        self.diagnostics.append(
            Diagnostic(
                at: location,
                "\(what) has a secret in it, which everybody could read in the objects",
                remedy: remedy
            )
        )
    }

    private static func texts(of probe: Probe) -> [String] {
        switch probe {
        case .process, .logLine, .notify: []
        case .tcp(let host, _): [host]
        case .http(let url, _, let text): [url] + [text].compactMap(\.self)
        case .exec(let argv): argv
        case .natsPing(let url), .systemHealth(let url): [url]
        case .modelListed(let url, let model), .modelReady(let url, let model): [url] + [model].compactMap(\.self)
        case .generate(let url, let model, _): [url] + [model].compactMap(\.self)
        case .requestPlane(let component, let endpoint): [component, endpoint]
        }
    }
}
