internal import OrderedCollections

/// The probes of a component.
///
/// Those that the operator has questions for keep its questions, with the manifest's times: a probe of another kind cannot be said, because
/// both would be merged, and one probe cannot ask two questions. Others are as without the operator.
struct OperatorProbes {
    let startup: YAMLValue?
    let liveness: YAMLValue?
    let readiness: YAMLValue?

    init(_ component: OperatorComponent) {
        let own = PlainProbes(component.process)
        guard let kind = component.kind else {
            var container: KeyedYAML = [:]
            own.add(to: &container)
            self.startup = container["startupProbe"]
            self.liveness = container["livenessProbe"]
            self.readiness = container["readinessProbe"]
            return
        }
        let port: YAMLValue = kind == .frontend ? "http" : "system"
        func ask(_ path: String, _ times: KeyedYAML) -> YAMLValue {
            var probe: KeyedYAML = ["httpGet": ["path": .text(path), "port": port]]
            for (key, value) in times { probe[key] = value }
            // No program has to be started for it.
            probe["timeoutSeconds"] = .number(max(1, PlainProbes.seconds(component.process.timing.probeTimeout)))
            return .keyed(probe)
        }
        self.startup = ask("/live", own.startup(runsProgram: false))
        self.liveness = ask("/live", own.steady)
        self.readiness = ask("/health", own.steady)
    }
}
