import NIOCore
import NIOPosix
import NIOSSL

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Opens one listener.
struct GatewayListening {
    let core: GatewayCore
    let group: MultiThreadedEventLoopGroup
    let lanes: [ObjectIdentifier: NIOLoopBound<Lane>]
    let isAccepting: Bool

    /// Connections that wait to be accepted; the system may allow fewer (net.core.somaxconn).
    private static let backlog: Int32 = 4096

    /// Listens.
    ///
    /// - Parameters:
    ///   - listener: where.
    ///   - certificate: what clients are shown; nil without TLS.
    /// - Returns: the listening channel, and its address for display.
    /// - Throws: `GatewayError` when the address cannot be had.
    func open(
        _ listener: GatewayListener,
        _ certificate: CertificateStore?
    ) async throws(GatewayError) -> (channel: any Channel, address: String) {
        try Self.check(listener)
        let bootstrap = self.bootstrap(certificate)
        let channel: any Channel
        do {
            switch listener {
            case .tcp(let host, let port, _): channel = try await bootstrap.bind(host: host, port: port).get()
            case .unix(let path, let mode, _):
                channel = try await self.listen(on: try Self.bind(path, mode: mode), bootstrap)
            case .inherited(let descriptor, _, _): channel = try await self.listen(on: descriptor, bootstrap)
            }
        } catch { throw listener.error(error) }
        let scheme = certificate == nil ? "http" : "https"
        return (channel, channel.localAddress.map { Self.text($0, scheme) } ?? "\(listener)")
    }

    private func listen(on descriptor: CInt, _ bootstrap: ServerBootstrap) async throws -> any Channel {
        let channel = try await bootstrap.withBoundSocket(descriptor).get()
        // NIO has set the queue to 128 connections, whatever the service manager had set.
        Self.listen(descriptor)
        return channel
    }

    /// Makes a Unix socket whose file stays when it is closed: NIO would remove it, although somebody else may have the socket too.
    ///
    /// - Parameters:
    ///   - path: where.
    ///   - mode: of the file; nil: what the umask leaves.
    /// - Returns: the descriptor.
    /// - Throws: `IOError` when the system refuses.
    static func bind(_ path: String, mode: UInt32?) throws -> CInt {
        let address = try SocketAddress(unixDomainSocketPath: path)
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw IOError(errnoCode: errno, reason: "socket") }
        let isBound = address.withSockAddr { Self.bind(descriptor, $0, socklen_t($1)) } == 0
        guard isBound, mode.map({ chmod(path, $0) == 0 }) ?? true else {
            let error = IOError(errnoCode: errno, reason: "bind")
            if isBound { unlink(path) }
            Self.close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func text(_ address: SocketAddress, _ scheme: String) -> String {
        if let path = address.pathname { return "unix:\(path)" }
        let host = address.ipAddress ?? "?"
        return "\(scheme)://\(host.utf8.contains(Bytes.colon) ? "[\(host)]" : host):\(address.port ?? 0)"
    }

    private func bootstrap(_ certificate: CertificateStore?) -> ServerBootstrap {
        let (core, lanes) = (self.core, self.lanes)
        return ServerBootstrap(group: self.group)
            .serverChannelOption(.backlog, value: Self.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.autoRead, value: self.isAccepting)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptPause(logger: core.logger))
                }
            }
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                core.connections.insert(channel)
                return channel.eventLoop.makeCompletedFuture {
                    guard let lane = lanes[ObjectIdentifier(channel.eventLoop)]?.value else {
                        throw ChannelError.inappropriateOperationForState
                    }
                    if channel.remoteAddress?.ipAddress != nil {
                        try channel.syncOptions?.setOption(.tcpOption(.tcp_nodelay), value: 1)
                    }
                    let pipeline = channel.pipeline.syncOperations
                    if let certificate { try pipeline.addHandler(NIOSSLServerHandler(context: certificate.context)) }
                    let peer = Peer(
                        address: channel.remoteAddress?.ipAddress,
                        isSecure: certificate != nil,
                        isTrusted: core.configuration.trustsForwarded
                    )
                    try pipeline.addHandler(ClientConnection(lane: lane, peer: peer))
                }
            }
    }

    /// Looks at what the system would only refuse with a number.
    static func check(_ listener: GatewayListener) throws(GatewayError) {
        switch listener {
        case .tcp: break
        case .unix(let path, _, _):
            // The size of sun_path, with its end.
            guard path.utf8.count < 108 else {
                throw listener.error(
                    "the path has \(path.utf8.count) bytes, and a socket's at most 107",
                    "use a shorter one"
                )
            }
            try Self.removeStale(path, listener)
        case .inherited(let descriptor, _, _):
            var type: CInt = 0
            var length = socklen_t(MemoryLayout<CInt>.size)
            guard getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length) == 0 else {
                let reason = String(cString: strerror(errno))
                throw listener.error("the descriptor is no socket (\(reason))", "pass a listening stream socket")
            }
            guard type == CInt(SOCK_STREAM.rawValue) else {
                throw listener.error("the socket is no stream socket", "use ListenStream= in the .socket unit")
            }
        }
    }

    /// Removes a socket file that nobody listens on any more.
    private static func removeStale(_ path: String, _ listener: GatewayListener) throws(GatewayError) {
        var information = stat()
        guard lstat(path, &information) == 0 else { return }
        guard information.st_mode & S_IFMT == S_IFSOCK else {
            throw listener.error("a file that is no socket stands there", "remove it, or choose another path")
        }
        guard let address = try? SocketAddress(unixDomainSocketPath: path) else { return }
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
        defer { Self.close(descriptor) }
        let result = address.withSockAddr { connect(descriptor, $0, socklen_t($1)) }
        guard result != 0, errno == ECONNREFUSED else {
            throw listener.error("another process listens there", "stop it, or choose another path")
        }
        unlink(path)
    }

    @discardableResult
    static func close(_ descriptor: CInt) -> CInt {
        #if canImport(Glibc)
        Glibc.close(descriptor)
        #elseif canImport(Musl)
        Musl.close(descriptor)
        #else
        Darwin.close(descriptor)
        #endif
    }

    @discardableResult
    static func listen(_ descriptor: CInt) -> CInt {
        #if canImport(Glibc)
        Glibc.listen(descriptor, Self.backlog)
        #elseif canImport(Musl)
        Musl.listen(descriptor, Self.backlog)
        #else
        Darwin.listen(descriptor, Self.backlog)
        #endif
    }

    static func bind(_ descriptor: CInt, _ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> CInt {
        #if canImport(Glibc)
        Glibc.bind(descriptor, address, length)
        #elseif canImport(Musl)
        Musl.bind(descriptor, address, length)
        #else
        Darwin.bind(descriptor, address, length)
        #endif
    }
}

extension GatewayListener: CustomStringConvertible {
    package var description: String {
        switch self {
        case .tcp(let host, let port, _): host.utf8.contains(Bytes.colon) ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unix(let path, _, _): "the Unix socket \(path)"
        case .inherited(let descriptor, let name, _): "the inherited socket '\(name)' (descriptor \(descriptor))"
        }
    }

    func error(_ reason: String, _ remedy: String) -> GatewayError {
        GatewayError(address: self.description, reason: reason, remedy: remedy)
    }

    /// Says why the system refused, and what to do.
    func error(_ error: any Error) -> GatewayError {
        guard let error = error as? IOError else {
            return self.error("\(error)", "check that the address belongs to this machine")
        }
        var said = self.words(for: error.errnoCode)
        said.errno = error.errnoCode
        return said
    }

    private func words(for code: Int32) -> GatewayError {
        let reason = String(cString: strerror(code))
        return switch (code, self) {
        case (EADDRINUSE, .tcp(_, let port, _)):
            self.error(
                "the port is taken",
                "stop what listens there (ss -ltnp 'sport = :\(port)' names it), or choose another port"
            )
        case (EACCES, .tcp(_, let port, _)) where port < 1024:
            self.error("\(reason): ports below 1024 are privileged", "choose a higher port, or use socket activation")
        case (EADDRNOTAVAIL, _): self.error("this machine has no such address", "use one of its own, or 0.0.0.0")
        case (ENOENT, .unix): self.error("the folder does not exist", "create it, or choose another path")
        case (EACCES, .unix), (EROFS, .unix):
            self.error("\(reason)", "choose a folder that this process may write to")
        default: self.error(reason, "choose another address")
        }
    }
}
