import Logging
import NIOCore
import NIOPosix
import RequestPlane
import Synchronization

/// Serves the endpoints of this process on one TCP port.
final class TCPServer: TransportServer {
    let mode = RequestPlaneMode.tcp

    private let configuration: TCPConfiguration
    private let logger: Logger
    private let group: any EventLoopGroup
    private let endpoints = EndpointTable()
    private let gate: DrainGate
    private let connections = ChannelSet()
    private let listener = Mutex<EventLoopFuture<any Channel>?>(nil)
    private let events: AsyncStream<Event>
    private let eventSource: AsyncStream<Event>.Continuation

    /// What `run()` reacts to.
    private enum Event {
        case request(TCPAnswer)
        case deadlinePassed
        case listenerClosed
    }

    init(
        configuration: TCPConfiguration,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        self.configuration = configuration
        self.group = group
        self.logger = logger
        self.gate = DrainGate(limit: configuration.maximumInFlight)
        (self.events, self.eventSource) = AsyncStream.makeStream()
    }

    var inFlight: Int { self.gate.count }

    var statistics: [EndpointStatistics] { self.endpoints.statistics }

    // MARK: Endpoints

    func register(
        _ endpoint: EndpointID,
        id: InstanceID,
        handler: @escaping RequestHandler
    ) async throws(RequestPlaneError) -> TransportAddress {
        guard !self.gate.isClosed else {
            throw RequestPlaneError(.unavailable, "cannot register \(endpoint): this server is shutting down")
        }
        let port = try await self.listen()
        let host = self.announcedHost
        let path = try self.endpoints.add(
            ServedEndpoint(id: endpoint, instance: id, handler: handler),
            paths: [
                "\(id.hex)/\(endpoint.name)",
                "\(id.hex)/\(endpoint.namespace)/\(endpoint.component)/\(endpoint.name)",
            ]
        )
        return .tcp("\(HostPort(host: host, port: port))/\(path)")
    }

    func unregister(_ endpoint: EndpointID) async { self.endpoints.remove(endpoint) }

    /// A wildcard is for binding; nobody can connect to it from elsewhere, so what is announced is the routable address.
    private var announcedHost: String {
        switch self.configuration.host {
        case nil, "0.0.0.0", "::": LocalAddress.firstRoutable()
        case let host?: host
        }
    }

    /// Listens, once; every registration waits for the same attempt.
    private func listen() async throws(RequestPlaneError) -> Int {
        let host = self.configuration.host ?? LocalAddress.firstRoutable()
        let future = self.listener.withLock { listener in
            if let listener { return listener }
            let future = self.bind(host)
            listener = future
            return future
        }
        do {
            let channel = try await future.get()
            guard let port = channel.localAddress?.port else { throw ChannelError.inappropriateOperationForState }
            return port
        } catch {
            self.listener.withLock { $0 = nil }
            let address = HostPort(host: host, port: self.configuration.port)
            throw RequestPlaneError(
                .invalidConfiguration,
                "cannot listen on \(address) for requests; check DYN_TCP_RPC_HOST and DYN_TCP_RPC_PORT",
                cause: error
            )
        }
    }

    private func bind(_ host: String) -> EventLoopFuture<any Channel> {
        let future = ServerBootstrap(group: self.group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                self.connections.insert(channel)
                return channel.eventLoop.makeCompletedFuture {
                    let machine = TCPServerConnection(maximumMessageSize: self.configuration.maximumMessageSize)
                    try channel.pipeline.syncOperations.addHandler(TCPServerHandler(machine) { self.dispatch($0, $1) })
                }
            }
            .bind(host: host, port: self.configuration.port)
        future.whenSuccess { channel in
            channel.closeFuture.whenComplete { _ in self.eventSource.yield(.listenerClosed) }
        }
        return future
    }

    // MARK: Requests

    /// Decides over a request on its event loop; the answer is written by a task of `run()`.
    private func dispatch(_ path: String, _ frame: TCPRequestFrame) -> TCPAcknowledgement {
        let refusal: TCPAnswer.Refusal
        if let endpoint = self.endpoints[path] {
            switch self.gate.enter() {
            case .admitted:
                self.answer(frame, .serve(endpoint))
                return .accepted
            case .full:
                refusal = TCPAnswer.Refusal(
                    .resourceExhausted,
                    "\(TCPAcknowledgement.overloadedPrefix) worker at capacity"
                )
            case .closed:
                refusal = TCPAnswer.Refusal(.unavailable, "\(TCPAcknowledgement.unavailablePrefix) shutting down")
            }
        } else {
            refusal = TCPAnswer.Refusal(.unknown, "\(TCPAcknowledgement.unavailablePrefix) unknown endpoint \(path)")
        }
        self.logger.debug("refused a request", metadata: ["path": "\(path)", "reason": "\(refusal.text)"])
        self.answer(frame, .refuse(refusal))
        return .refused(refusal.text)
    }

    private func answer(_ frame: TCPRequestFrame, _ purpose: TCPAnswer.Purpose) {
        let answer = TCPAnswer(
            frame: frame,
            purpose: purpose,
            group: self.group,
            connectTimeout: self.configuration.connectTimeout,
            logger: self.logger
        )
        let result = self.eventSource.yield(.request(answer))
        if case .terminated = result, case .serve = purpose { self.gate.leave() }
    }

    // MARK: Lifecycle

    func run() async throws {
        var failure: RequestPlaneError?
        await withDiscardingTaskGroup { group in
            loop: for await event in self.events {
                switch event {
                case .request(let answer):
                    group.addTask {
                        await answer.run()
                        if case .serve = answer.purpose { self.gate.leave() }
                    }
                case .deadlinePassed:
                    group.cancelAll()
                case .listenerClosed:
                    if self.gate.isClosed { continue }
                    failure = RequestPlaneError(.unavailable, "the request listener was closed by the system")
                    break loop
                }
            }
            if failure != nil || Task.isCancelled { group.cancelAll() }
        }
        self.gate.close()
        self.eventSource.finish()
        await self.close()
        if let failure { throw failure }
    }

    func drain(deadline: Duration) async {
        self.gate.close()
        if await !self.gate.waitUntilEmpty(atMost: deadline) {
            self.logger.warning(
                "cancelling requests that still run at the drain deadline",
                metadata: ["count": "\(self.inFlight)"]
            )
            self.eventSource.yield(.deadlinePassed)
        }
        self.eventSource.finish()
    }

    private func close() async {
        if let listener = try? await self.listener.withLock({ $0 })?.get() { try? await listener.close() }
        await self.connections.closeAll()
    }
}
