package import Discovery
import Synchronization

/// What `/health` and `/live` of a process say.
package final class HealthStatus: Sendable {
    /// `DYN_SYSTEM_STARTING_HEALTH_STATUS`.
    package enum Starting: String, Sendable, Hashable, CaseIterable {
        case ready, notready
    }

    private struct State {
        var endpoints: [String: Bool] = [:]
        var isDraining = false
    }

    private let started = ContinuousClock.now
    private let starting: Starting
    private let deciding: [String]
    private let state = Mutex(State())

    /// Creates a status without endpoints.
    ///
    /// - Parameters:
    ///   - starting: `ready` makes the process ready whatever its endpoints are.
    ///   - deciding: the endpoints that decide alone, `DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS`; empty means all.
    package init(starting: Starting = .notready, deciding: [String] = []) {
        self.starting = starting
        self.deciding = deciding
    }

    /// An endpoint is being set up, or serves.
    package func set(_ endpoint: String, isReady: Bool) { self.state.withLock { $0.endpoints[endpoint] = isReady } }

    /// The process was asked to stop.
    package func drain() { self.state.withLock { $0.isDraining = true } }

    package var isDraining: Bool { self.state.withLock { $0.isDraining } }

    /// Endpoints are set up, all of them serve, and the process was not asked to stop.
    ///
    /// Dynamo's workers stay `notready` unless they were told otherwise; these look at their endpoints by themselves. What
    /// Dynamo's variables say goes first: endpoints that are named decide alone, and a status to start with stays.
    package var isReady: Bool {
        self.state.withLock { state in
            if state.isDraining { return false }
            if !self.deciding.isEmpty { return self.deciding.allSatisfy { state.endpoints[$0] == true } }
            return self.starting == .ready || (!state.endpoints.isEmpty && state.endpoints.values.allSatisfy { $0 })
        }
    }

    package var hasEndpoints: Bool { self.state.withLock { !$0.endpoints.isEmpty } }

    package var uptime: Duration { self.started.duration(to: .now) }

    package var json: JSONValue {
        let endpoints = self.state.withLock { $0.endpoints }
        let uptime = self.uptime.components
        return [
            "status": .string(self.isReady ? "ready" : "notready"),
            "uptime": ["secs": JSONValue(uptime.seconds), "nanos": JSONValue(uptime.attoseconds / 1_000_000_000)],
            "endpoints": .object(
                JSONFields(
                    endpoints.sorted { $0.key < $1.key }.map { .init($0.key, .string($0.value ? "ready" : "notready")) }
                )
            ),
        ]
    }
}
