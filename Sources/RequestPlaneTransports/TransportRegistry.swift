import Logging
import NIOCore
import RequestPlane

/// Which transport serves which plane: one line for each.
enum TransportRegistry {
    /// Makes the server of a plane.
    static func server(
        _ configuration: NetworkManager.Configuration,
        link: NATSLink,
        group: any EventLoopGroup,
        logger: Logger
    ) -> any TransportServer {
        switch configuration.mode {
        case .tcp: TCPServer(configuration: configuration, group: group, logger: logger)
        case .http: HTTPServer(configuration: configuration, group: group, logger: logger)
        case .nats: NATSServer(configuration: configuration, link: link, group: group, logger: logger)
        }
    }

    /// Makes the callers of all planes; one of them is used for each instance.
    static func callers(
        _ configuration: NetworkManager.Configuration,
        security: ConnectionSecurity,
        link: NATSLink,
        core: CallingCore,
        group: any EventLoopGroup,
        logger: Logger
    ) -> TransportClient {
        TransportClient(
            tcp: TCPCaller(
                configuration: configuration.tcp,
                security: security,
                core: core,
                group: group,
                logger: logger
            ),
            http: HTTPCaller(configuration: configuration.http, core: core, group: group, logger: logger),
            nats: NATSCaller(settings: configuration.nats, link: link, core: core, eventLoop: group.any())
        )
    }
}

/// What the manager needs of a server, beyond serving.
protocol TransportServer: RequestPlaneServer {
    var statistics: [EndpointStatistics] { get }
}

/// Sends requests to the instances of one plane.
protocol TransportCaller: RequestPlaneClient {
    /// Runs what the caller needs beside its event loops, until cancelled.
    func run() async throws

    /// Fails what is not acknowledged, and closes every connection.
    func close() async
}

/// Chooses the transport from the instance's address, so that one process can call instances of different planes.
struct TransportClient: RequestPlaneClient {
    let tcp: TCPCaller
    let http: HTTPCaller
    let nats: NATSCaller

    var all: [any TransportCaller] { [self.tcp, self.http, self.nats] }

    func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
        switch instance.transport {
        case .tcp: try await self.tcp.send(request, to: instance)
        case .http: try await self.http.send(request, to: instance)
        case .nats: try await self.nats.send(request, to: instance)
        }
    }
}
