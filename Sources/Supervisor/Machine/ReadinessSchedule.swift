internal import Deployment

/// Which probes are asked, and when.
struct ReadinessSchedule: Sendable, Hashable {
    let layers: [LayerProbe]
    let timing: ProbeTiming
    /// Indexes of the layers that are asked again once ready, lowest first.
    let steady: [Int]

    init(layers: [LayerProbe], timing: ProbeTiming) {
        self.layers = layers.isEmpty ? [LayerProbe(layer: .alive, probe: .process)] : layers
        self.timing = timing
        self.steady = Self.steadySet(of: self.layers)
    }

    /// What is asked in the steady state: nothing that costs a generation, nothing that another probe of the set implies.
    private static func steadySet(of layers: [LayerProbe]) -> [Int] {
        let answersRequests = layers.contains { layer in
            switch layer.probe {
            case .http, .natsPing, .systemHealth, .modelListed, .modelReady: true
            case .process, .tcp, .exec, .logLine, .generate, .requestPlane, .notify: false
            }
        }
        let asksModelReady = layers.contains { layer in
            if case .modelReady = layer.probe { true } else { false }
        }
        return layers.indices.filter { index in
            switch layers[index].probe {
            case .process, .logLine, .generate, .requestPlane, .notify: false
            case .tcp: !answersRequests
            case .modelListed: !asksModelReady
            case .http, .natsPing, .systemHealth, .modelReady, .exec: true
            }
        }
    }

    /// Whether a failure at this layer is the replica's own.
    ///
    /// Above it the answer also depends on other processes: a frontend whose worker is gone lists no model, and
    /// restarting the frontend would not help.
    func isOwn(_ index: Int) -> Bool {
        self.layers[index].layer <= .health
    }

    /// The pause before the next startup probe: short at first and never more than 2 % of the time that has passed, so that
    /// polling does not delay readiness, and never longer than the plan's interval.
    func startupPause(elapsed: Duration) -> Duration {
        max(.milliseconds(5), min(max(elapsed / 50, .milliseconds(25)), .seconds(self.timing.startupInterval)))
    }
}
