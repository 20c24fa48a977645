import Logging
import NIOCore
import RequestPlane

/// Which transport serves which plane: one line for each.
enum TransportRegistry {
    /// Makes the server of a plane.
    static func server(_ configuration: NetworkManager.Configuration, logger: Logger) -> any TransportServer {
        switch configuration.mode {
        case .tcp: TCPServer(configuration: configuration, logger: logger)
        case .http: HTTPServer(configuration: configuration, logger: logger)
        case .nats: UnsupportedServer(mode: configuration.mode)
        }
    }

    /// Makes the callers of all planes; one of them is used for each instance.
    static func callers(
        _ configuration: NetworkManager.Configuration,
        core: CallingCore,
        group: any EventLoopGroup,
        logger: Logger
    ) -> TransportClient {
        TransportClient(
            tcp: TCPCaller(configuration: configuration.tcp, core: core, group: group, logger: logger),
            http: HTTPCaller(configuration: configuration.http, core: core, group: group, logger: logger)
        )
    }

    /// Refuses planes that this build does not speak.
    ///
    /// - Parameter mode: the plane.
    /// - Throws: `RequestPlaneError` for planes without a transport.
    static func check(_ mode: RequestPlaneMode) throws(RequestPlaneError) {
        switch mode {
        case .tcp, .http: return
        case .nats: throw Self.unsupported(mode)
        }
    }

    static func unsupported(_ mode: RequestPlaneMode) -> RequestPlaneError {
        RequestPlaneError(
            .invalidConfiguration,
            "request plane '\(mode.rawValue)': this build's own processes speak tcp and http only for now; set DYN_REQUEST_PLANE=tcp"
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

    var all: [any TransportCaller] { [self.tcp, self.http] }

    func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
        switch instance.transport {
        case .tcp: try await self.tcp.send(request, to: instance)
        case .http: try await self.http.send(request, to: instance)
        case .nats: throw TransportRegistry.unsupported(instance.transport.mode)
        }
    }
}

/// Stands for a plane that this build does not speak; says so when it is used.
private struct UnsupportedServer: TransportServer {
    let mode: RequestPlaneMode
    var inFlight: Int { 0 }
    var statistics: [EndpointStatistics] { [] }

    func register(
        _ endpoint: EndpointID,
        id: InstanceID,
        handler: @escaping RequestHandler
    ) async throws(RequestPlaneError) -> TransportAddress {
        throw TransportRegistry.unsupported(self.mode)
    }

    func unregister(_ endpoint: EndpointID) async {}

    func run() async throws { throw TransportRegistry.unsupported(self.mode) }

    func drain(deadline: Duration) async {}
}
