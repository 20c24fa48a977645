internal import Deployment

/// Asks the servers that run outside the deployment.
struct ExternalServiceCheck: Sendable {
    let services: [ExternalService]
    let probes: ProbeRunner

    /// What all of them say; they are asked together, and each has so long.
    func answers(within timeout: Duration = .seconds(5)) async -> [ServiceAnswer] {
        await withTaskGroup(of: (Int, ProbeOutcome).self) { group in
            for (index, service) in self.services.enumerated() {
                group.addTask { (index, await self.probes.ask(service.probe, timeout: timeout)) }
            }
            var outcomes: [Int: ProbeOutcome] = [:]
            for await (index, outcome) in group { outcomes[index] = outcome }
            return self.services.indices.map { index in
                ServiceAnswer(service: self.services[index], outcome: outcomes[index] ?? .failure("was not asked"))
            }
        }
    }

    /// What does not answer, in words; nil when all do.
    func failure() async -> String? {
        let silent = await self.answers().compactMap { answer -> String? in
            guard case .failure(let reason) = answer.outcome else { return nil }
            let service = answer.service
            return "\(service.name) at \(service.maskedURL) does not answer: \(reason). "
                + "Start it, give its right address, or write 'infrastructure: {\(service.kind): managed}' to have one started with the deployment"
        }
        return silent.isEmpty ? nil : silent.joined(separator: "\n")
    }
}
