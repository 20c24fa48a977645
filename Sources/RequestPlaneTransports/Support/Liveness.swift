import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Lets the kernel find out that the other host is gone, which sends nothing when it goes.
///
/// An idle connection is probed after 30 s, and broken when three probes in 10 s each are not answered. On request connections unanswered
/// bytes break it after the same 60 s. Response streams have no such limit, since the kernel would also count the time in which a slow
/// reader keeps its window closed.
enum Liveness: Sendable {
    case requestConnection
    case responseStream

    private static let idleSeconds: Int = 30
    private static let intervalSeconds: Int = 10
    private static let probes: Int = 3

    typealias Option = ChannelOptions.Types.SocketOption

    var options: [(Option, Int)] {
        #if os(Linux)
        var options: [(Option, Int)] = [
            (.socketOption(.so_keepalive), 1),
            (Self.tcp(TCP_KEEPIDLE), Self.idleSeconds),
            (Self.tcp(TCP_KEEPINTVL), Self.intervalSeconds),
            (Self.tcp(TCP_KEEPCNT), Self.probes),
        ]
        if case .requestConnection = self {
            let limit = Self.idleSeconds + Self.intervalSeconds * Self.probes
            options.append((Self.tcp(TCP_USER_TIMEOUT), limit * 1000))
        }
        return options
        #else
        return [(.socketOption(.so_keepalive), 1), (Self.tcp(TCP_KEEPALIVE), Self.idleSeconds)]
        #endif
    }

    private static func tcp(_ name: CInt) -> Option { .tcpOption(NIOBSDSocket.Option(rawValue: name)) }
}

extension ClientBootstrap {
    /// Sets the options of connections between processes: no delay for small frames, and a watch over the other host.
    func connectionOptions(_ liveness: Liveness) -> Self {
        var bootstrap = self.channelOption(.tcpOption(.tcp_nodelay), value: 1)
        for (option, value) in liveness.options { bootstrap = bootstrap.channelOption(option, value: value) }
        return bootstrap
    }
}

extension ServerBootstrap {
    /// Sets the options of accepted connections between processes: no delay for small frames, and a watch over the other host.
    func connectionOptions(_ liveness: Liveness) -> Self {
        var bootstrap = self.childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        for (option, value) in liveness.options { bootstrap = bootstrap.childChannelOption(option, value: value) }
        return bootstrap
    }
}
