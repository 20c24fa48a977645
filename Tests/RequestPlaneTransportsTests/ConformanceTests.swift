import Logging
import RequestPlane
import RequestPlaneTransports
import TestSupport
import Testing

@Suite struct ConformanceTests {
    /// Every transport between processes: one line for each.
    private static let transports: [NetworkTransport] = [
        NetworkTransport(.tcp), NetworkTransport(.http),
        NetworkTransport(.tcp, "handlers on event loops") { $0.handlerExecution = .onEventLoop },
    ]

    @Test(arguments: Self.transports, ConformanceCheck.all + ConformanceCheck.betweenProcesses)
    func conforms(_ transport: NetworkTransport, _ check: ConformanceCheck) async throws {
        try await check.run(on: transport)
    }

    @Test(arguments: ConformanceCheck.all + ConformanceCheck.betweenProcesses)
    func natsConforms(_ check: ConformanceCheck) async throws {
        try await NATSServerFixture.run(configuration: "max_payload: \(check.options.requestLimit ?? 8_388_608)") {
            server in
            try await check.run(on: NetworkTransport(.nats) { $0.nats = try NATSSettings(server: server.url) })
        }
    }
}

/// The server of one manager and the client of another.
struct NetworkTransport: ConformanceTransport, CustomStringConvertible {
    let mode: RequestPlaneMode
    private let note: String
    private let configure: @Sendable (inout NetworkManager.Configuration) async throws -> Void

    /// Names a transport.
    ///
    /// - Parameters:
    ///   - mode: the plane.
    ///   - note: what distinguishes it from others of that plane.
    ///   - configure: what the plane needs beside it, for example the address of a broker.
    init(
        _ mode: RequestPlaneMode,
        _ note: String = "",
        configure: @escaping @Sendable (inout NetworkManager.Configuration) async throws -> Void = { _ in }
    ) {
        self.mode = mode
        self.note = note
        self.configure = configure
    }

    var description: String { self.note.isEmpty ? self.mode.rawValue : "\(self.mode.rawValue), \(self.note)" }

    func makeEnds(_ options: ConformanceOptions) async throws -> ConformanceEnds {
        var configuration = NetworkManager.Configuration.loopback
        configuration.mode = self.mode
        try await self.configure(&configuration)
        configuration.apply(options)
        let server = NetworkManager(configuration: configuration, logger: Logger(label: "server"))
        let client = NetworkManager(configuration: configuration, logger: Logger(label: "client"))
        return ConformanceEnds(
            server: server.server,
            client: client.client,
            statistics: { server.statistics },
            runServer: { try await server.run() },
            drainServer: { await server.drain(deadline: $0) },
            runClient: { try await client.run() }
        )
    }
}

extension NetworkManager.Configuration {
    /// Sets what a check wants changed, on the plane of this configuration.
    fileprivate mutating func apply(_ options: ConformanceOptions) {
        if let timeout = options.timeout { self.responseStream.callHomeTimeout = timeout }
        switch self.mode {
        case .tcp:
            if let capacity = options.capacity { self.tcp.maximumInFlight = capacity }
            if let limit = options.requestLimit { self.tcp.maximumMessageSize = limit }
            if let timeout = options.timeout { self.tcp.requestTimeout = timeout }
        case .http:
            if let capacity = options.capacity { self.http.maximumInFlight = capacity }
            if let limit = options.requestLimit { self.http.maximumBodySize = limit }
            if let timeout = options.timeout { self.http.requestTimeout = timeout }
        case .nats:
            // How large a request may be is the broker's to say.
            if let capacity = options.capacity { self.nats.maximumInFlight = capacity }
            if let timeout = options.timeout { self.nats.requestTimeout = timeout }
        }
    }
}
