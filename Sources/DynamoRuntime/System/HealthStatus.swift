package import Discovery
import Synchronization

/// What `/health` and `/live` of a process say.
package final class HealthStatus: Sendable {
    private struct State {
        var endpoints: [String: Bool] = [:]
        var isDraining = false
    }

    private let started = ContinuousClock.now
    private let state = Mutex(State())

    package init() {}

    /// An endpoint is being set up, or serves.
    package func set(_ endpoint: String, isReady: Bool) { self.state.withLock { $0.endpoints[endpoint] = isReady } }

    /// The process was asked to stop.
    package func drain() { self.state.withLock { $0.isDraining = true } }

    package var isDraining: Bool { self.state.withLock { $0.isDraining } }

    /// Endpoints are set up, all of them serve, and the process was not asked to stop.
    ///
    /// Differs from Dynamo's workers, which stay `notready` unless they were told otherwise.
    package var isReady: Bool {
        self.state.withLock { !$0.isDraining && !$0.endpoints.isEmpty && $0.endpoints.values.allSatisfy { $0 } }
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
