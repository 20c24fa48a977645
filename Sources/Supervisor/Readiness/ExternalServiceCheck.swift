internal import Deployment

/// Asks the servers that run outside the deployment, before anything is started.
struct ExternalServiceCheck: Sendable {
    let services: [ExternalService]
    let probes: ProbeRunner

    /// What does not answer, in words; nil when all do.
    func failure() async -> String? {
        var silent: [String] = []
        for service in self.services {
            guard case .failure(let reason) = await self.probes.ask(service.probe, timeout: .seconds(5)) else {
                continue
            }
            let kind = service.name.prefix { $0 != "-" }
            silent.append(
                "\(service.name) at \(service.maskedURL) does not answer: \(reason). Start it, give its right address, or write "
                    + "'infrastructure: {\(kind): managed}' to have one started with the deployment"
            )
        }
        return silent.isEmpty ? nil : silent.joined(separator: "\n")
    }
}
