import Deployment
import Gateway

extension GatewayConfiguration {
    /// What a plan says about the gateway.
    ///
    /// - Parameters:
    ///   - settings: the plan's part.
    ///   - address: the public address.
    init(_ settings: GatewayPlan, at address: HTTPAddress) {
        let tls = settings.tls.map { GatewayTLS(certificatePath: $0.certificate, keyPath: $0.key) }
        var listeners: [GatewayListener] = [.tcp(host: address.host, port: address.port, tls: tls)]
        listeners += settings.listeners.map { listener in
            switch listener {
            case .address(let address, let isSecure):
                .tcp(host: address.host, port: address.port, tls: isSecure ? tls : nil)
            case .unix(let path, let mode): .unix(path: path, mode: UInt32(mode, radix: 8))
            }
        }
        self.init(
            listeners: listeners,
            hold: HoldPolicy(
                maximumRequests: settings.hold.requests,
                maximumBytes: settings.hold.bytes,
                patience: .seconds(settings.hold.time)
            )
        )
        self.limits.maximumBodyBytes = settings.bodyLimit
        self.limits.maximumHeaderBytes = settings.headerLimit
        self.limits.maximumTargetBytes = min(self.limits.maximumTargetBytes, settings.headerLimit)
        self.limits.maximumConnections = settings.connections
        self.limits.headerTimeout = .seconds(settings.timeouts.header)
        self.limits.bodyTimeout = .seconds(settings.timeouts.body)
        self.limits.idleTimeout = .seconds(settings.timeouts.idle)
        self.limits.writeTimeout = .seconds(settings.timeouts.write)
    }
}
