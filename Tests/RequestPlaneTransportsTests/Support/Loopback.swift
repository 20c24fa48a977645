import Logging
import NIOCore
import RequestPlane
import RequestPlaneTransports

/// For warnings that a test provokes.
let quietLogger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A server and a client in this process, over real sockets on loopback.
struct Loopback {
    let manager: NetworkManager
    let endpoint = EndpointID(namespace: "test", component: "echo", name: "run")

    /// Runs a manager for as long as the body runs.
    static func run<Result: Sendable>(
        _ configure: (inout NetworkManager.Configuration) -> Void = { _ in },
        _ body: (Loopback) async throws -> Result
    ) async throws -> Result {
        var configuration = NetworkManager.Configuration.loopback
        configure(&configuration)
        let manager = NetworkManager(configuration: configuration, logger: Logger(label: "test"))
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await manager.run() }
            let result = try await body(Loopback(manager: manager))
            group.cancelAll()
            return result
        }
    }

    /// Serves an endpoint and returns the instance to call.
    func serve(
        _ name: String = "run",
        id: UInt64 = 0x1d54_88c8_6654_4b8b,
        handler: @escaping RequestHandler
    ) async throws -> Instance {
        let endpoint = EndpointID(namespace: "test", component: "echo", name: name)
        let id = InstanceID(rawValue: id)
        let address = try await self.manager.server.register(endpoint, id: id, handler: handler)
        return Instance(endpoint: endpoint, id: id, transport: address)
    }

    func send(
        _ text: String,
        to instance: Instance,
        id: String = "r-1"
    ) async throws(RequestPlaneError) -> ResponseStream {
        try await self.manager.client.send(OutgoingRequest(id: id, payload: ByteBuffer(string: text)), to: instance)
    }
}

extension NetworkManager.Configuration {
    /// Binds and announces loopback only.
    static var loopback: Self {
        var configuration = Self()
        configuration.tcp.host = "127.0.0.1"
        configuration.http.host = "127.0.0.1"
        configuration.http.port = 0
        configuration.responseStream.host = "127.0.0.1"
        return configuration
    }
}

/// A handler that yields what the closure makes of the request.
func items(_ make: @escaping @Sendable (IncomingRequest) -> [ResponseItem]) -> RequestHandler {
    { request in
        let all = make(request)
        return AsyncThrowingStream<ResponseItem, any Error> { continuation in
            for item in all { continuation.yield(item) }
            continuation.finish()
        }
    }
}

extension ResponseStream {
    /// All items, data as text.
    func texts() async throws -> [String] {
        var texts: [String] = []
        for try await item in self {
            switch item {
            case .data(let payload), .bare(let payload): texts.append(String(buffer: payload))
            case .annotation(let event, let comments): texts.append("\(event):\(comments.joined(separator: ","))")
            case .failure(let error): texts.append("failure:\(error)")
            }
        }
        return texts
    }
}
