import Logging
import NIOCore
import RequestPlane
import Synchronization

/// The port that workers call home to: one for all requests of the process.
final class CallHomeListener: Sendable {
    /// The requests that wait for their worker.
    let pending: PendingResponses

    private let configuration: ResponseStreamConfiguration
    private let listener: Listener
    private let address = Mutex<String?>(nil)

    init(
        configuration: ResponseStreamConfiguration,
        security: ConnectionSecurity,
        group: any EventLoopGroup,
        logger: Logger
    ) {
        let pending = PendingResponses(
            timeout: configuration.callHomeTimeout,
            departureGrace: configuration.departureGrace,
            deliveryGrace: configuration.deliveryGrace,
            eventLoop: group.any()
        )
        self.configuration = configuration
        self.pending = pending
        self.listener = Listener(
            group: group,
            liveness: .responseStream,
            security: security,
            remedy:
                "for workers to call home; check DYN_TCP_RESPONSE_STREAM_HOST and DYN_TCP_RESPONSE_STREAM_PORT",
            logger: logger,
            onRefusal: { pending.refused($0) }
        ) { channel in
            try channel.pipeline.syncOperations.addHandler(
                ResponseStreamHandler(
                    ResponseStreamReceiver(maximumItemSize: configuration.maximumItemSize),
                    pending: pending,
                    handshakeTimeout: TimeAmount(configuration.handshakeTimeout),
                    logger: logger
                )
            )
        }
    }

    /// How many response streams are open.
    var connectionCount: Int { self.listener.connectionCount }

    /// Listens, once, and returns the address to announce to workers.
    ///
    /// - Returns: `IP:PORT`.
    /// - Throws: `RequestPlaneError` when the port cannot be had.
    func start() async throws(RequestPlaneError) -> String {
        if let address = self.address.withLock({ $0 }) { return address }
        let host = try self.host()
        let port = try await self.listener.start(host: host, port: self.configuration.port)
        let address = HostPort(host: host, port: port).description
        self.address.withLock { $0 = address }
        return address
    }

    /// Stops listening and closes every response stream.
    func close() async {
        self.pending.fail(PlaneFailure(.unavailable, "this process is shutting down"))
        await self.listener.close()
    }

    private func host() throws(RequestPlaneError) -> String {
        if let name = self.configuration.interface { return try LocalAddress.ofInterface(name) }
        return LocalAddress.announced(for: self.configuration.host)
    }
}
