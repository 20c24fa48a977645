/// How far a replica has come.
///
/// Each layer includes those below it.
package enum ReadinessLayer: String, Sendable, Hashable, Codable, CaseIterable, Comparable {
    /// The process runs.
    case alive
    /// Its port accepts connections.
    case port
    /// Its `/live` answers.
    case live
    /// Its `/health` names this instance.
    case health
    /// The frontend lists the model.
    case modelListed = "model-listed"
    /// The frontend says that the model can be served.
    case modelReady = "model-ready"
    /// A request through the chosen plane came back.
    case serving

    private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rank < rhs.rank }
}

/// One layer of a replica and the probe that decides it.
package struct LayerProbe: Sendable, Hashable, Codable {
    package var layer: ReadinessLayer
    package var probe: Probe

    package init(layer: ReadinessLayer, probe: Probe) {
        self.layer = layer
        self.probe = probe
    }
}

/// A question to a running replica whose answer is yes or no, with a reason.
package enum Probe: Sendable, Hashable, Codable {
    /// The process exists.
    case process
    /// A TCP connection is accepted.
    case tcp(host: String, port: Int)
    /// GET answers with one of the statuses (empty: any 2xx) and, if given, a body that contains the text.
    case http(url: String, statuses: [Int], bodyContains: String?)
    /// A program ends with 0 (run in the replica's environment and working directory).
    case exec(argv: [String])
    /// The replica has written a line that matches the regular expression since it was started.
    case logLine(pattern: String)
    /// A NATS server answers PING.
    case natsPing(url: String)
    /// A worker's system server names at least one endpoint, all of them ready, whatever the status code.
    case systemHealth(url: String)
    /// The frontend lists the model (nil: any model).
    case modelListed(baseURL: String, model: String?)
    /// `GET /v1/models/{model}/ready` answers 2xx; on releases that lack the route, the model is listed.
    case modelReady(baseURL: String, model: String?)
    /// A one-token request through the public port comes back.
    case generate(baseURL: String, model: String?, canary: CanaryRequest)
    /// A request to the endpoint `component.endpoint` of every instance of this namespace is answered on the request plane.
    case requestPlane(component: String, endpoint: String)
    /// The replica, or a process that it started, has said `READY=1` to its `NOTIFY_SOCKET` (`sd_notify(3)`).
    case notify
}

/// How often probes are asked, in seconds.
package struct ProbeTiming: Sendable, Hashable, Codable {
    /// Between two probes while the replica starts.
    package var startupInterval: Double
    /// Longest time from start to ready; then the replica counts as failed.
    ///
    /// nil: no limit.
    package var startupTimeout: Double?
    /// Between two probes once ready.
    package var steadyInterval: Double
    /// One probe may take this long.
    package var probeTimeout: Double
    /// This many failures in a row, once ready, make the replica unready and, by its restart policy, restart it.
    package var failureThreshold: Int

    package init(
        startupInterval: Double = 0.1,
        startupTimeout: Double? = 600,
        steadyInterval: Double = 5,
        probeTimeout: Double = 3,
        failureThreshold: Int = 3
    ) {
        self.startupInterval = startupInterval
        self.startupTimeout = startupTimeout
        self.steadyInterval = steadyInterval
        self.probeTimeout = probeTimeout
        self.failureThreshold = failureThreshold
    }
}
