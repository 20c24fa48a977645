import Discovery
import KVEvents
import KVRouter
import Logging
import NIOCore
import RequestPlane
import Synchronization

/// Tells frontends what runs on the workers of an endpoint, as routers of Dynamo 1.2 do (contract `kv-events.md`, section 6).
///
/// In 1.6 only workers say how busy they are.
final class LoadReport: Sendable {
    private let endpoint: EndpointID
    private let router: UInt64
    private let plane: any EventPlane
    private let logger: Logger
    private let channel: Mutex<EventChannel?> = Mutex(nil)
    private let hasLost = Atomic(false)

    init(of endpoint: EndpointID, router: UInt64, plane: any EventPlane, logger: Logger) {
        self.endpoint = endpoint
        self.router = router
        self.plane = plane
        self.logger = logger
    }

    /// Opens what publishes; call it once, before discovery tells of it.
    ///
    /// - Returns: what discovery should tell.
    /// - Throws: `ZMQError` when a socket cannot be opened.
    func open() async throws -> [DiscoveryRecord] {
        let channel = try await self.plane.channel(.load, .release12, of: self.endpoint, publisher: self.router)
        self.channel.withLock { $0 = channel }
        return [
            .eventChannel(EventChannelRecord(.load, .release12, self.endpoint, self.router, channel.address))
        ]
    }

    /// Sends what runs on a worker; what cannot be sent is lost, and true no more with the next change.
    func publish(_ load: WorkerLoad) {
        guard let channel = self.channel.withLock({ $0 }) else { return }
        var payload = ByteBuffer()
        payload.writeWorkerLoad(load)
        do { try channel.publish(payload) } catch {
            guard !self.hasLost.exchange(true, ordering: .relaxed) else { return }
            self.logger.warning("nobody can be told how busy a worker is", metadata: ["error": "\(error)"])
        }
    }
}
