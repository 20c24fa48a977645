// How the deployment moves from one generation to the next.

extension ManifestDecoder {
    /// - Returns: what the manifest says of migrations, with defaults for the rest.
    mutating func migration(_ node: ManifestNode) -> MigrationSettings {
        var settings = MigrationSettings()
        guard let fields = self.node.fields(node, of: "'migration'", keys: ManifestKey.migration) else {
            return settings
        }
        if let strategy = fields["strategy"].flatMap({
            self.node.choice($0.value, "'migration.strategy'", MigrationSettings.Strategy.self)
        }) {
            settings.strategy = strategy.value
        }
        if let steps = fields["steps"].flatMap({ self.migrationSteps($0.value) }) { settings.steps = steps }
        if let canary = fields["canary"], let items = self.node.items(canary.value, "'migration.canary'") {
            settings.canary = items.compactMap { self.migrationCheck($0) }
        }
        if let thresholds = fields["thresholds"] {
            settings.thresholds = self.migrationThresholds(thresholds.value)
        }
        func duration(_ key: String, allowsZero: Bool = false) -> Double? {
            fields[key].flatMap { self.node.duration($0.value, "'migration.\(key)'", allowsZero: allowsZero) }
        }
        settings.observe = duration("observe", allowsZero: true) ?? settings.observe
        settings.startTimeout = duration("startTimeout")
        settings.drainTimeout = duration("drainTimeout")
        settings.rollbackWindow = duration("rollbackWindow", allowsZero: true) ?? settings.rollbackWindow
        settings.minimumWorkers =
            fields["minimumWorkers"].flatMap {
                self.node.integer($0.value, "'migration.minimumWorkers'", in: 0...10000)
            }?.value
        return settings
    }

    /// Ascending percentages, the last one 100.
    private mutating func migrationSteps(_ node: ManifestNode) -> [Int]? {
        guard let items = self.node.items(node, "'migration.steps'") else { return nil }
        var steps: [Int] = []
        for item in items {
            guard let scalar = self.node.scalar(item, "an item of 'migration.steps'", wanted: "a percentage") else {
                return nil
            }
            let text = scalar.value.text
            let digits = text.hasSuffix("%") ? text.dropLast().trimmingSpaces : text[...]
            guard let percent = Int(digits), (1...100).contains(percent) else {
                self.node.error(
                    at: item.location,
                    "an item of 'migration.steps' must be a percentage, not '\(scalar.value.shown)'",
                    remedy: "write 1 to 100, such as 25 or 25%"
                )
                return nil
            }
            if let last = steps.last, percent <= last {
                self.node.error(
                    at: item.location,
                    "'migration.steps' goes from \(last) to \(percent), and each step must be larger than the one before",
                    remedy: "write them in ascending order, such as [5, 25, 100]"
                )
                return nil
            }
            steps.append(percent)
        }
        guard steps.last == 100 else {
            self.node.error(
                at: items.last?.location ?? node.location,
                steps.last.map { "'migration.steps' ends with \($0), and the last step must be 100" }
                    ?? "'migration.steps' is empty, and the last step must be 100",
                remedy: "write [\((steps + [100]).map(String.init).joined(separator: ", "))]"
            )
            return nil
        }
        return steps
    }

    private mutating func migrationCheck(_ node: ManifestNode) -> MigrationSettings.CanaryCheck? {
        let what = "an item of 'migration.canary'"
        guard let fields = self.node.fields(node, of: what, keys: ManifestKey.migrationCheck) else { return nil }
        if fields["prompt"] == nil {
            self.node.error(at: node.location, "\(what) has no 'prompt'", remedy: "add 'prompt: TEXT', what is asked")
        }
        let prompt = fields["prompt"].flatMap { self.node.text($0.value, "'prompt'") }
        var check = MigrationSettings.CanaryCheck(prompt: prompt?.value ?? "")
        if let pattern = fields["expect"].flatMap({ self.node.text($0.value, "'expect'") }) {
            if pattern.value.utf8.count <= 500, (try? Regex(pattern.value)) != nil {
                check.expect = pattern.value
            } else {
                self.node.error(
                    at: pattern.location,
                    "'\(Spelling.excerpt(pattern.value))' is no regular expression of at most 500 bytes",
                    remedy: "put a backslash before each of . * + ? ( ) [ ] { } | ^ $ \\ that stands for itself"
                )
            }
        }
        if let tokens = fields["maxTokens"].flatMap({ self.node.integer($0.value, "'maxTokens'", in: 1...100_000) }) {
            check.maxTokens = tokens.value
        }
        if let timeout = fields["timeout"].flatMap({ self.node.duration($0.value, "'timeout'") }) {
            check.timeout = timeout
        }
        return prompt == nil ? nil : check
    }

    // MARK: Thresholds

    private mutating func migrationThresholds(_ node: ManifestNode) -> MigrationSettings.Thresholds {
        var thresholds = MigrationSettings.Thresholds()
        let what = "'migration.thresholds'"
        guard let fields = self.node.fields(node, of: what, keys: ManifestKey.migrationThresholds) else {
            return thresholds
        }
        if let rate = fields["errorRate"].flatMap({ self.errorRate($0.value) }) { thresholds.errorRate = rate }
        if let factor = fields["firstToken"].flatMap({ self.factor($0.value, "firstToken") }) {
            thresholds.firstToken = factor
        }
        if let factor = fields["betweenTokens"].flatMap({ self.factor($0.value, "betweenTokens") }) {
            thresholds.betweenTokens = factor
        }
        if let minimum = fields["minimumRequests"].flatMap({
            self.node.integer($0.value, "'migration.thresholds.minimumRequests'", in: 1...1_000_000)
        }) {
            thresholds.minimumRequests = minimum.value
        }
        return thresholds
    }

    /// A share from 0 to 1, or percent.
    private mutating func errorRate(_ node: ManifestNode) -> Double? {
        let what = "'migration.thresholds.errorRate'"
        guard let scalar = self.node.scalar(node, what, wanted: "a share such as 2%") else { return nil }
        let text = scalar.value.text
        let isPercent = text.hasSuffix("%")
        let number = (isPercent ? Double(text.dropLast().trimmingSpaces) : Double(text)).map {
            isPercent ? $0 / 100 : $0
        }
        guard let number, number >= 0, number <= 1 else {
            self.node.error(
                at: node.location,
                "\(what) must be from 0 to 1, or from 0% to 100%, not '\(scalar.value.shown)'",
                remedy: "write the share of requests that may fail, such as 0.02 or 2%"
            )
            return nil
        }
        return number
    }

    private mutating func factor(_ node: ManifestNode, _ key: String) -> Double? {
        let what = "'migration.thresholds.\(key)'"
        guard let scalar = self.node.scalar(node, what, wanted: "a number of at least 1") else { return nil }
        guard let factor = Double(scalar.value.text), factor >= 1, factor <= 1_000_000 else {
            self.node.error(
                at: node.location,
                "\(what) must be a number of at least 1, not '\(scalar.value.shown)'",
                remedy: "write how many times the old generation's time is too long, such as 3"
            )
            return nil
        }
        return factor
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var rest = self
        while rest.last == " " { rest.removeLast() }
        return rest
    }
}
