import Logging
import NIOCore
import RequestPlane
import Synchronization

/// Sends requests to HTTP instances: over HTTP/2 without negotiation, over HTTP/1.1 to whoever cannot.
final class HTTPCaller: TransportCaller {
    private let configuration: HTTPConfiguration
    private let core: CallingCore
    private let group: any EventLoopGroup
    private let logger: Logger
    private let pools = Mutex(Pools())

    private struct Pools {
        var byTarget: [HostPort: HTTPHostPool] = [:]
        var isClosed = false
    }

    init(configuration: HTTPConfiguration, core: CallingCore, group: any EventLoopGroup, logger: Logger) {
        self.configuration = configuration
        self.core = core
        self.group = group
        self.logger = logger
    }

    func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
        let url = try HTTPInstanceURL(instance.transport.value)
        return try await self.core.send(request, to: instance, timeout: self.configuration.requestTimeout) {
            headers,
            control throws(RequestPlaneError) in
            try EncodedHTTPRequest(url: url, headers: headers, control: control, body: request.payload)
        } submit: { call throws(RequestPlaneError) in
            guard let pool = self.pool(url.target) else {
                throw RequestPlaneError(.unavailable, "this process is shutting down")
            }
            pool.submit(call)
        }
    }

    /// Connections are driven by their event loops.
    func run() async throws {}

    func close() async {
        let pools = self.pools.withLock { pools in
            pools.isClosed = true
            return Array(pools.byTarget.values)
        }
        for pool in pools { pool.close() }
    }

    private func pool(_ target: HostPort) -> HTTPHostPool? {
        self.pools.withLock { pools in
            if pools.isClosed { return nil }
            if let pool = pools.byTarget[target] { return pool }
            let pool = HTTPHostPool(
                target: target,
                configuration: self.configuration,
                eventLoop: self.group.next(),
                logger: self.logger
            )
            pools.byTarget[target] = pool
            return pool
        }
    }
}
