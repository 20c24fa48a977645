import Logging
import NIOCore
import RequestPlane
import Synchronization

/// Sends requests to TCP instances.
final class TCPCaller: TransportCaller {
    private let configuration: TCPConfiguration
    private let security: ConnectionSecurity
    private let core: CallingCore
    private let group: any EventLoopGroup
    private let logger: Logger
    private let pools = Mutex(Pools())

    private struct Pools {
        var byTarget: [HostPort: (pool: TCPHostPool, lastUse: ContinuousClock.Instant)] = [:]
        var isClosed = false
    }

    init(
        configuration: TCPConfiguration,
        security: ConnectionSecurity,
        core: CallingCore,
        group: any EventLoopGroup,
        logger: Logger
    ) {
        self.configuration = configuration
        self.security = security
        self.core = core
        self.group = group
        self.logger = logger
    }

    func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
        let address = try TCPInstanceAddress(instance.transport.value)
        _ = try self.security.client()
        return try await self.core.send(request, to: instance, timeout: self.configuration.requestTimeout) {
            headers,
            control throws(RequestPlaneError) in
            try self.encode(path: address.path, headers: headers, control: control, body: request.payload)
        } submit: { call throws(RequestPlaneError) in
            guard let pool = self.pool(address.target) else {
                throw RequestPlaneError(.unavailable, "this process is shutting down")
            }
            pool.submit(call)
        }
    }

    /// Hosts that are called now, or were not long ago.
    var hostCount: Int { self.pools.withLock { $0.byTarget.count } }

    /// Drops what is held for hosts that nobody calls any more; connections are driven by their event loops.
    func run() async throws {
        // No request can be under way to a host that was not called for this long.
        let limit = max(
            self.configuration.hostIdleTimeout,
            self.configuration.requestTimeout + self.configuration.connectTimeout
        )
        while !Task.isCancelled {
            do { try await Task.sleep(for: limit / 4) } catch { return }
            let now = ContinuousClock.now
            let idle = self.pools.withLock { pools in
                let idle = pools.byTarget.filter { now - $0.value.lastUse >= limit }
                for target in idle.keys { pools.byTarget[target] = nil }
                return idle.values
            }
            for entry in idle { entry.pool.close() }
        }
    }

    func close() async {
        let pools = self.pools.withLock { pools in
            pools.isClosed = true
            return Array(pools.byTarget.values)
        }
        for entry in pools { entry.pool.close() }
    }

    private func encode(
        path: String,
        headers: [String: String],
        control: ControlHeader,
        body: ByteBuffer
    ) throws(RequestPlaneError) -> EncodedTCPRequest {
        var headers = headers
        headers["x-endpoint-path"] = path
        let encoded: EncodedTCPRequest
        do {
            encoded = try EncodedTCPRequest(path: path, headers: headers, control: control, body: body)
        } catch {
            throw RequestPlaneError(.tooLarge, "the request cannot be encoded: \(error)")
        }
        guard encoded.size <= self.configuration.maximumMessageSize else {
            throw RequestPlaneError(
                .tooLarge,
                "the request takes \(encoded.size) bytes, more than the \(self.configuration.maximumMessageSize) of "
                    + "DYN_TCP_MAX_MESSAGE_SIZE"
            )
        }
        return encoded
    }

    private func pool(_ target: HostPort) -> TCPHostPool? {
        self.pools.withLock { pools in
            if pools.isClosed { return nil }
            let now = ContinuousClock.now
            if let pool = pools.byTarget[target]?.pool {
                pools.byTarget[target]?.lastUse = now
                return pool
            }
            let pool = TCPHostPool(
                target: target,
                configuration: self.configuration,
                security: self.security,
                eventLoop: self.group.next(),
                logger: self.logger
            )
            pools.byTarget[target] = (pool, now)
            return pool
        }
    }
}
