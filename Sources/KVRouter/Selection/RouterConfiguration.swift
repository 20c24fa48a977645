/// Why a setting of a router was refused.
package struct RouterConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    package var description: String

    package init(_ description: String) { self.description = description }
}

/// The settings of a router; the defaults are those of Dynamo 1.2.1.
///
/// Source: `kv-events.md` 5.
package struct RouterConfiguration: Hashable, Sendable {
    package var mode = RouterMode.roundRobin
    package var cost = CostFunction()
    /// 0: the lowest cost wins; above: chance, the more the higher.
    package var temperature = 0.0
    /// Whether workers tell what they hold; otherwise it is predicted from the router's own choices.
    package var usesKVEvents = true
    package var usesDurableKVEvents = false
    package var syncsReplicas = false
    /// Whether the prompts' blocks count as load.
    package var tracksActiveBlocks = true
    /// Whether generated blocks count as load.
    package var tracksOutputBlocks = false
    /// Whether equal prompts share blocks in a worker's cache.
    package var assumesKVReuse = true
    /// Whether prompts that are not yet processed count as load.
    package var tracksPrefillTokens = true
    package var prefillLoadModel = "none"
    /// Messages in the durable stream above which the index is written as a snapshot.
    package var snapshotThreshold = 1_000_000
    package var resetsStates = false
    /// How long a predicted block is believed in.
    package var predictionLifetime: Duration = .seconds(120)
    /// The share of a worker's token capacity that must be taken on all workers for a request to wait; nil: never.
    package var queueThreshold: Double? = 4
    package var queuePolicy = QueuePolicy.fcfs
    package var eventThreads = 4
    /// How many workers must be there before the router is ready.
    package var minimalWorkers = 0
    package var usesRemoteIndexer = false
    package var servesIndexer = false
    package var sharedCacheMultiplier: Double? = 0.5
    package var sharedCacheType = "none"
    package var enforcesDisaggregation = false
    package var busy = BusyThresholds()
    /// Tokens of a block; nil: what the model's card says.
    package var blockSize: Int?

    /// The settings of a release when nobody sets any.
    package init(release: RouterRelease = .v1_2) {
        for knob in RouterKnob.all(of: release) { self.set(knob.name, knob.fallback) }
    }

    /// Reads the settings of a release from variables.
    ///
    /// - Parameters:
    ///   - release: whose variables and defaults.
    ///   - variables: an environment; an empty value counts as not set.
    /// - Throws: an error that names every value that cannot be used.
    package init(release: RouterRelease = .v1_2, variables: [String: String]) throws(RouterConfigurationError) {
        self.init(release: release)
        var problems: [String] = []
        // The preset stands near the end of the table, so that it wins over single settings, as in Dynamo.
        for knob in RouterKnob.all(of: release) {
            guard let text = variables[knob.variable], !text.isEmpty else { continue }
            do { try self.set(knob, text, named: knob.variable) } catch { problems.append(error.description) }
        }
        if let problem = self.problem { problems.append(problem) }
        guard problems.isEmpty else { throw RouterConfigurationError(problems.joined(separator: "; ")) }
    }

    /// Sets one setting from a text.
    ///
    /// - Parameters:
    ///   - knob: which.
    ///   - text: a value; `None` switches a threshold off.
    ///   - source: the variable or option that it comes from, for the error.
    /// - Throws: when the text is no value that this setting can have.
    package mutating func set(
        _ knob: RouterKnob,
        _ text: String,
        named source: String
    ) throws(RouterConfigurationError) {
        let folded = text.lowercased()
        func refuse(_ allowed: String) -> RouterConfigurationError {
            RouterConfigurationError("\(source) is '\(text)'; it must be \(allowed)")
        }
        switch knob.kind {
        case .flag:
            switch folded {
            case "1", "true", "yes", "on": self.set(knob.name, "true")
            case "0", "false", "no", "off": self.set(knob.name, "false")
            default: throw refuse("true or false")
            }
        case .number(let range):
            if folded == "none", Self.canBeOff(knob.name) { return self.set(knob.name, nil) }
            guard let number = Double(text), range.contains(number) else {
                let low = Self.short(range.lowerBound)
                let bound =
                    range.upperBound < 1e300 ? "from \(low) to \(Self.short(range.upperBound))" : "of \(low) or more"
                throw refuse("a number \(bound)")
            }
            self.set(knob.name, text)
        case .count(let range):
            if folded == "none", Self.canBeOff(knob.name) { return self.set(knob.name, nil) }
            guard let count = Int(text), range.contains(count) else {
                let bound =
                    range.upperBound < .max
                    ? "from \(range.lowerBound) to \(range.upperBound)" : "of \(range.lowerBound) or more"
                throw refuse("a whole number \(bound)")
            }
            self.set(knob.name, text)
        case .word(let words):
            guard words.contains(folded) else { throw refuse("one of " + words.joined(separator: ", ")) }
            self.set(knob.name, folded)
        }
    }

    /// What contradicts itself; nil if nothing does.
    package var problem: String? {
        if self.usesDurableKVEvents, !self.usesKVEvents {
            return "durable KV events are on although KV events are off; switch one of them"
        }
        if self.tracksOutputBlocks, !self.tracksActiveBlocks {
            return "output blocks are tracked although active blocks are not; switch one of them"
        }
        if self.servesIndexer, self.usesRemoteIndexer {
            return "an indexer is served although a remote one is used; switch one of them"
        }
        if self.servesIndexer, self.mode != .kv { return "an indexer is served only in router mode kv" }
        return nil
    }

    /// Load without regard to what caches hold, as Dynamo's `--load-aware`.
    package mutating func applyLoadAwarePreset() {
        self.mode = .kv
        self.cost.overlapCredit = 0
        self.usesKVEvents = false
        self.usesDurableKVEvents = false
        self.tracksActiveBlocks = true
        self.assumesKVReuse = false
        self.tracksPrefillTokens = true
        self.usesRemoteIndexer = false
        self.servesIndexer = false
        self.sharedCacheMultiplier = 0
        self.sharedCacheType = "none"
    }

    private static func canBeOff(_ name: RouterKnob.Name) -> Bool {
        switch name {
        case .queueThreshold, .decodeBlocksThreshold, .prefillTokensThreshold, .prefillTokensFractionThreshold: true
        default: false
        }
    }

    private static func short(_ number: Double) -> String {
        number == number.rounded() ? String(Int(number)) : String(number)
    }

    /// Sets a checked text; nil is nothing, for settings that can be off.
    private mutating func set(_ name: RouterKnob.Name, _ text: String?) {
        let flag = text == "true"
        let number = text.flatMap(Double.init)
        let count = text.flatMap { Int($0) }
        switch name {
        case .mode: self.mode = text.flatMap(RouterMode.init(rawValue:)) ?? self.mode
        case .overlapCredit: self.cost.overlapCredit = number ?? self.cost.overlapCredit
        case .overlapCreditDecay: self.cost.overlapCreditDecay = number ?? self.cost.overlapCreditDecay
        case .prefillLoadScale: self.cost.prefillLoadScale = number ?? self.cost.prefillLoadScale
        case .hostCacheWeight: self.cost.hostWeight = number ?? self.cost.hostWeight
        case .diskCacheWeight: self.cost.diskWeight = number ?? self.cost.diskWeight
        case .activeRequestWeight: self.cost.activeRequestWeight = number ?? self.cost.activeRequestWeight
        case .temperature: self.temperature = number ?? self.temperature
        case .kvEvents: self.usesKVEvents = flag
        case .durableKVEvents: self.usesDurableKVEvents = flag
        case .replicaSync: self.syncsReplicas = flag
        case .trackActiveBlocks: self.tracksActiveBlocks = flag
        case .trackOutputBlocks: self.tracksOutputBlocks = flag
        case .assumeKVReuse: self.assumesKVReuse = flag
        case .trackPrefillTokens: self.tracksPrefillTokens = flag
        case .prefillLoadModel: self.prefillLoadModel = text ?? self.prefillLoadModel
        case .snapshotThreshold: self.snapshotThreshold = count ?? self.snapshotThreshold
        case .resetStates: self.resetsStates = flag
        case .predictionLifetime: self.predictionLifetime = number.map { .seconds($0) } ?? self.predictionLifetime
        case .queueThreshold: self.queueThreshold = number
        case .queuePolicy: self.queuePolicy = text.flatMap(QueuePolicy.init(rawValue:)) ?? self.queuePolicy
        case .eventThreads: self.eventThreads = count ?? self.eventThreads
        case .minimalWorkers: self.minimalWorkers = count ?? self.minimalWorkers
        case .remoteIndexer: self.usesRemoteIndexer = flag
        case .servesIndexer: self.servesIndexer = flag
        case .sharedCacheMultiplier: self.sharedCacheMultiplier = number
        case .sharedCacheType: self.sharedCacheType = text ?? self.sharedCacheType
        case .loadAware: if flag { self.applyLoadAwarePreset() }
        case .enforcesDisaggregation: self.enforcesDisaggregation = flag
        case .decodeBlocksThreshold: self.busy.decodeBlocksFraction = number
        case .prefillTokensThreshold: self.busy.prefillTokens = count
        case .prefillTokensFractionThreshold: self.busy.prefillTokensFraction = number
        case .blockSize: self.blockSize = count
        }
    }
}
