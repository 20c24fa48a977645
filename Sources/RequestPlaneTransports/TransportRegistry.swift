import Logging
import RequestPlane

/// Which transport serves which plane: one line for each.
enum TransportRegistry {
    /// Makes the server of a plane.
    static func server(_ configuration: NetworkManager.Configuration, logger: Logger) -> any TransportServer {
        switch configuration.mode {
        case .tcp: TCPServer(configuration: configuration.tcp, logger: logger)
        case .http, .nats: UnsupportedServer(mode: configuration.mode)
        }
    }

    /// Refuses planes that this build does not speak.
    ///
    /// - Parameter mode: the plane.
    /// - Throws: `RequestPlaneError` for planes without a transport.
    static func check(_ mode: RequestPlaneMode) throws(RequestPlaneError) {
        switch mode {
        case .tcp: return
        case .http, .nats: throw Self.unsupported(mode)
        }
    }

    static func unsupported(_ mode: RequestPlaneMode) -> RequestPlaneError {
        RequestPlaneError(
            .invalidConfiguration,
            "request plane '\(mode.rawValue)': this build's own processes speak tcp only for now; set DYN_REQUEST_PLANE=tcp"
        )
    }
}

/// What the manager needs of a server, beyond serving.
protocol TransportServer: RequestPlaneServer {
    var statistics: [EndpointStatistics] { get }
}

/// Chooses the transport from the instance's address, so that one process can call instances of different planes.
struct TransportClient: RequestPlaneClient {
    let tcp: TCPClient

    func send(_ request: OutgoingRequest, to instance: Instance) async throws(RequestPlaneError) -> ResponseStream {
        switch instance.transport {
        case .tcp(let address): try await self.tcp.send(request, to: instance, at: address)
        case .http, .nats: throw TransportRegistry.unsupported(instance.transport.mode)
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
