import Gateway
import Logging

/// Runs a gateway on a free port for the time of a test.
func withGateway(
    _ change: (inout GatewayConfiguration) -> Void = { _ in },
    _ body: (Gateway, Int) async throws -> Void
) async throws {
    var configuration = GatewayConfiguration(listeners: [.tcp(host: "127.0.0.1", port: 0)])
    configuration.hold.patience = .seconds(5)
    change(&configuration)
    var logger = Logger(label: "gateway")
    logger.logLevel = .error
    let gateway = Gateway(configuration, logger: logger)
    try await gateway.bind()
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await gateway.run() }
        try await body(gateway, gateway.port ?? 0)
        group.cancelAll()
    }
}
