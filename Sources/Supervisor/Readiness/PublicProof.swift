package import Deployment
package import NIOCore

/// Sends the readiness request of a deployment through its public address: each frontend's own was asked before, and this one proves
/// what stands in front of them.
package struct PublicProof: Sendable {
    private let probe: ModelProbe
    private let canary: CanaryRequest
    private let url: String

    /// How long it may take, in seconds: at least one request in full.
    package var limit: Double { max(20, self.canary.timeout) }

    /// Nil when no frontend is ready by a readiness request.
    ///
    /// - Parameters:
    ///   - plan: the deployment.
    ///   - prepare: prepares each connection, for example for TLS.
    package init?(_ plan: Plan, prepare: (@Sendable (any Channel) throws -> Void)? = nil) {
        let questions = plan.replicas.flatMap(\.readiness).compactMap { layer -> (String?, CanaryRequest)? in
            guard case .generate(_, let model, let canary) = layer.probe else { return nil }
            return (model, canary)
        }
        guard let (model, canary) = questions.first else { return nil }
        self.probe = ModelProbe(
            baseURL: plan.publicAddress.socketPath == nil ? plan.publicAddress.localURL : "http://localhost",
            model: model,
            timeout: .seconds(canary.timeout),
            socketPath: plan.publicAddress.socketPath,
            prepare: prepare
        )
        self.canary = canary
        self.url = plan.publicURL
    }

    /// Asks until an answer comes.
    ///
    /// - Parameter limit: how long; nil: ``limit``.
    /// - Returns: what is wrong, in words; nil when it serves.
    package func trouble(within limit: Duration? = nil) async -> String? {
        let deadline = ContinuousClock.now + (limit ?? .seconds(self.limit))
        while true {
            let reason: String
            switch await self.ask(until: deadline) {
            case .success: return nil
            case .failure(let words): reason = words
            }
            let isOver = ContinuousClock.now + .milliseconds(250) > deadline
            if !isOver { try? await Task.sleep(for: .milliseconds(250)) }
            guard !isOver, !Task.isCancelled else {
                return "the public address \(self.url) does not serve, although each frontend does by itself: \(reason)"
            }
        }
    }

    private func ask(until deadline: ContinuousClock.Instant) async -> ProbeOutcome {
        let left = deadline - .now
        let probe = ModelProbe(
            baseURL: self.probe.baseURL,
            model: self.probe.model,
            timeout: min(self.probe.timeout, left),
            socketPath: self.probe.socketPath,
            prepare: self.probe.prepare
        )
        do { return try await probe.generates(self.canary) } catch { return .failure(error.description) }
    }
}
