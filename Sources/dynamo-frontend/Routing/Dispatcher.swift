import Logging
import RequestPlane
import Synchronization

/// Sends a request to one of the instances that serve it, and to one more if the first did not take it.
final class Dispatcher: Sendable {
    private let client: any RequestPlaneClient
    private let selector: Mutex<InstanceSelector>
    private let logger: Logger

    init(client: any RequestPlaneClient, mode: InstanceSelector.Mode, logger: Logger) {
        self.client = client
        self.selector = Mutex(InstanceSelector(mode: mode))
        self.logger = logger
    }

    /// Sends a request.
    ///
    /// - Parameters:
    ///   - request: what to send.
    ///   - instances: who could serve it.
    /// - Returns: the answer.
    /// - Throws: `RequestPlaneError` of the last attempt.
    func send(_ request: OutgoingRequest, to instances: [Instance]) async throws(RequestPlaneError) -> ResponseStream {
        var refused: Set<InstanceID> = []
        var lastError = RequestPlaneError(.noInstance, "no instance is alive")
        for _ in 0..<2 {
            let excluded = refused
            let choice = self.selector.withLock {
                $0.choose(from: instances, excluding: excluded, now: .now, random: .random(in: 0 ... .max))
            }
            guard let instance = choice else { throw lastError }
            do {
                return try await self.client.send(request, to: instance)
            } catch {
                guard Self.neverStarted(error.code), !Task.isCancelled else { throw error }
                self.logger.warning(
                    "instance did not take a request",
                    metadata: ["instance": "\(instance.id)", "request": "\(request.id)", "error": "\(error)"]
                )
                // An instance at capacity will take others soon.
                if error.code != .overloaded { self.selector.withLock { $0.failed(instance.id, now: .now) } }
                refused.insert(instance.id)
                lastError = error
            }
        }
        throw lastError
    }

    /// Whether the request provably did not begin, so that another instance may have it.
    private static func neverStarted(_ code: RequestPlaneError.Code) -> Bool {
        switch code {
        case .connectFailed, .unavailable, .overloaded, .unknownEndpoint: true
        default: false
        }
    }
}
