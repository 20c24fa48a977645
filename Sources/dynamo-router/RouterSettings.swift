import DynamoRuntime
import KVRouter
import RequestPlane
import RouterCommandLine

/// What this router is to do, from its environment and its command line.
struct RouterSettings: Hashable, Sendable {
    /// The workers' endpoint.
    var endpoint: EndpointID
    var blockSize: Int
    var configuration: RouterConfiguration
    /// A sentence for each variable that is set and has no effect.
    var warnings: [String] = []

    static let honored: Set<RouterKnob.Name> = [
        .overlapCredit, .prefillLoadScale, .temperature, .kvEvents, .replicaSync, .trackActiveBlocks,
        .trackOutputBlocks, .assumeKVReuse, .trackPrefillTokens, .predictionLifetime, .queueThreshold, .queuePolicy,
        .minimalWorkers, .durableKVEvents, .snapshotThreshold, .resetStates,
    ]

    /// Reads the settings.
    ///
    /// - Parameters:
    ///   - variables: the environment.
    ///   - endpoint: wins over its variable.
    ///   - blockSize: wins over its variable.
    ///   - flags: win over their variables.
    /// - Throws: `ConfigurationError` that names everything that cannot be used.
    init(
        _ variables: [String: String],
        endpoint: String?,
        blockSize: String?,
        flags: [RouterSetting]
    ) throws(ConfigurationError) {
        var problems: [String] = []
        let knobs = RouterKnob.all(of: .v1_2)
        var used: [String: String] = [:]
        for knob in knobs {
            guard let text = variables[knob.variable], !text.isEmpty else { continue }
            if Self.honored.contains(knob.name) { used[knob.variable] = text; continue }
            if knob.name != .mode {
                self.warnings.append("\(knob.variable) is set, but has no effect in this router")
            }
        }
        self.warnings += Self.misspelled(variables, knobs)
        var configuration = RouterConfiguration()
        do { configuration = try RouterConfiguration(variables: used) } catch { problems.append(error.description) }
        for flag in flags {
            guard let knob = knobs.first(where: { $0.name == flag.name }) else { continue }
            do { try configuration.set(knob, flag.text, named: flag.flag) } catch {
                problems.append(error.description + Self.hint(knob, flag.text))
            }
        }
        if problems.isEmpty, let problem = configuration.problem { problems.append(problem) }
        let given = Set(flags.map(\.name)).union(knobs.filter { used[$0.variable] != nil }.map(\.name))
        if !configuration.usesDurableKVEvents, !given.isDisjoint(with: [.snapshotThreshold, .resetStates]) {
            self.warnings.append(
                "a snapshot threshold or a reset of states has no effect without --router-durable-kv-events"
            )
        }
        // A router process knows one mode, and leaves it to frontends to turn requests away.
        configuration.mode = .kv
        configuration.busy = BusyThresholds()
        configuration.busy.decodeBlocksFraction = nil
        configuration.busy.prefillTokens = nil
        configuration.busy.prefillTokensFraction = nil
        self.configuration = configuration

        let (sizeText, sizeName) =
            blockSize.map { ($0, "--router-block-size") }
            ?? (variables["DYN_ROUTER_BLOCK_SIZE"].flatMap { $0.isEmpty ? nil : $0 } ?? "128", "DYN_ROUTER_BLOCK_SIZE")
        self.blockSize = Int(sizeText).flatMap { (1...1_048_576).contains($0) ? $0 : nil } ?? 0
        if self.blockSize == 0 {
            problems.append("\(sizeName) is '\(sizeText)'; it must be a whole number from 1 to 1048576")
        }

        self.endpoint = EndpointID(namespace: "", component: "", name: "")
        let name = endpoint == nil ? "DYN_ROUTER_ENDPOINT" : "--endpoint"
        if let text = endpoint ?? variables["DYN_ROUTER_ENDPOINT"].flatMap({ $0.isEmpty ? nil : $0 }) {
            let parts = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
            if parts.count == 3, parts.allSatisfy({ !$0.isEmpty && !$0.contains { "/ ".contains($0) } }) {
                self.endpoint = EndpointID(namespace: parts[0], component: parts[1], name: parts[2])
            } else {
                problems.append(
                    "\(name) is '\(text)'; it must be the workers' endpoint as namespace.component.endpoint, "
                        + "like dynamo.backend.generate"
                )
            }
        } else {
            problems.append(
                "no endpoint is given: name the workers' with --endpoint or DYN_ROUTER_ENDPOINT, like dynamo.backend.generate"
            )
        }
        guard problems.isEmpty else { throw ConfigurationError(problems) }
    }

    /// What was probably meant where words are expected.
    private static func hint(_ knob: RouterKnob, _ text: String) -> String {
        guard case .word(let words) = knob.kind, let word = NearestWord.to(text, among: words) else { return "" }
        return "; did you mean '\(word)'?"
    }

    /// Variables that look like a router's, and are nobody's.
    private static func misspelled(_ variables: [String: String], _ knobs: [RouterKnob]) -> [String] {
        let releases = RouterRelease.allCases.flatMap { RouterKnob.all(of: $0).map(\.variable) }
        let known = Set(releases).union(["DYN_ROUTER_ENDPOINT", "DYN_ROUTER_BLOCK_SIZE"])
        return variables.keys.filter { $0.hasPrefix("DYN_ROUTER_") && !known.contains($0) }.sorted().map { name in
            let hint = NearestWord.to(name, among: known.sorted()).map { "; did you mean \($0)?" } ?? ""
            return "\(name) is no variable of a router\(hint)"
        }
    }
}
