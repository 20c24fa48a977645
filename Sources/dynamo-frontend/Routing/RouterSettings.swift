import DynamoRuntime
import KVRouter
import RouterCommandLine

/// The settings of Dynamo's router that this frontend has.
enum RouterSettings {
    /// Those that take effect here.
    static let honored: Set<RouterKnob.Name> = [
        .mode, .overlapCredit, .prefillLoadScale, .temperature, .kvEvents, .replicaSync, .trackActiveBlocks,
        .trackOutputBlocks, .assumeKVReuse, .trackPrefillTokens, .predictionLifetime, .queueThreshold, .queuePolicy,
        .minimalWorkers, .prefillTokensThreshold, .blockSize, .durableKVEvents, .snapshotThreshold, .resetStates,
    ]

    static var knobs: [RouterKnob] {
        RouterKnob.all(of: .v1_2).filter { self.honored.contains($0.name) }
    }

    /// Reads the settings.
    ///
    /// - Parameters:
    ///   - variables: the environment.
    ///   - mode: wins over the variable.
    ///   - blockSize: wins over its variable.
    ///   - flags: win over their variables.
    /// - Returns: the settings, and a sentence for each that is set and has no effect.
    /// - Throws: an error that names every value that cannot be used.
    static func read(
        _ variables: [String: String],
        mode: RouterMode?,
        blockSize: String? = nil,
        flags: [RouterSetting] = []
    ) throws(RouterConfigurationError) -> (configuration: RouterConfiguration, warnings: [String]) {
        var used: [String: String] = [:]
        var warnings: [String] = []
        for knob in RouterKnob.all(of: .v1_2) {
            guard let text = variables[knob.variable], !text.isEmpty else { continue }
            if knob.name == .mode { continue }
            if self.honored.contains(knob.name) {
                used[knob.variable] = text
            } else {
                warnings.append("\(knob.variable) is set, but has no effect in this frontend")
            }
        }
        var configuration = try RouterConfiguration(variables: used)
        if let text = variables["DYN_ROUTER_MODE"], !text.isEmpty, mode == nil {
            do { configuration.mode = try self.mode(text) } catch {
                throw RouterConfigurationError("DYN_ROUTER_MODE: \(error)")
            }
        }
        if let mode { configuration.mode = mode }
        var settings = flags
        if let blockSize {
            settings.append(RouterSetting(name: .blockSize, flag: "--kv-cache-block-size", text: blockSize))
        }
        for setting in settings {
            guard let knob = self.knobs.first(where: { $0.name == setting.name }) else { continue }
            try configuration.set(knob, setting.text, named: setting.flag)
        }
        if let problem = configuration.problem { throw RouterConfigurationError(problem) }
        return (configuration, warnings)
    }

    /// Reads a mode.
    ///
    /// - Parameter text: its name, in any case.
    /// - Returns: the mode.
    /// - Throws: an error that says what was probably meant.
    static func mode(_ text: String) throws(RouterConfigurationError) -> RouterMode {
        if let mode = RouterMode(rawValue: text.lowercased()) { return mode }
        let names = RouterMode.allCases.map(\.rawValue)
        let hint = NearestWord.to(text, among: names).map { "; did you mean '\($0)'?" } ?? ""
        throw RouterConfigurationError(
            "'\(text)' is no router mode; write one of \(names.joined(separator: ", "))\(hint)"
        )
    }
}
