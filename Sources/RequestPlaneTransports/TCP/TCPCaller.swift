import Logging
import NIOCore
import RequestPlane
import Synchronization

/// Sends requests to TCP instances.
final class TCPCaller: TransportCaller {
    private let configuration: TCPConfiguration
    private let core: CallingCore
    private let group: any EventLoopGroup
    private let logger: Logger
    private let pools = Mutex(Pools())

    private struct Pools {
        var byTarget: [HostPort: TCPHostPool] = [:]
        var isClosed = false
    }

    init(configuration: TCPConfiguration, core: CallingCore, group: any EventLoopGroup, logger: Logger) {
        self.configuration = configuration
        self.core = core
        self.group = group
        self.logger = logger
    }

    func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
        let address = try TCPInstanceAddress(instance.transport.value)
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

    /// Connections are driven by their event loops.
    func run() async throws {}

    func close() async {
        let pools = self.pools.withLock { pools in
            pools.isClosed = true
            return Array(pools.byTarget.values)
        }
        for pool in pools { pool.close() }
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
            if let pool = pools.byTarget[target] { return pool }
            let pool = TCPHostPool(
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
