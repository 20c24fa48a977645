internal import Deployment

/// What a server outside the deployment said when it was asked.
struct ServiceAnswer: Sendable, Equatable {
    var service: ExternalService
    var outcome: ProbeOutcome
}

/// Which of the servers that run outside the deployment answer, while it runs.
///
/// Nothing here starts them again; but a deployment without its NATS server does not serve, whatever its own processes say.
struct ServiceWatch: Sendable {
    enum Change: Sendable, Equatable {
        case lost(ExternalService, reason: String)
        case back(ExternalService, seconds: Double)
    }

    private struct Silence: Sendable {
        var reason: String
        var since: ContinuousClock.Instant
        var looks: Int
    }

    /// A server that is started again at once is no loss.
    private static let looksUntilLost = 2

    private var silences: [ExternalService: Silence] = [:]

    /// Until they are asked again: soon when one is in doubt.
    var pause: Duration { self.silences.values.contains { $0.looks < Self.looksUntilLost } ? .seconds(1) : .seconds(5) }

    /// Takes what all of them have said.
    ///
    /// - Parameters:
    ///   - answers: of each that the deployment needs now; of others nothing is known any more.
    ///   - now: when.
    /// - Returns: what is different now.
    mutating func saw(_ answers: [ServiceAnswer], at now: ContinuousClock.Instant) -> [Change] {
        let asked = Set(answers.map(\.service))
        self.silences = self.silences.filter { asked.contains($0.key) }
        return answers.compactMap { answer in
            switch answer.outcome {
            case .success:
                guard let silence = self.silences.removeValue(forKey: answer.service) else { return nil }
                guard silence.looks >= Self.looksUntilLost else { return nil }
                return .back(answer.service, seconds: (now - silence.since).inSeconds)
            case .failure(let reason):
                var silence = self.silences[answer.service] ?? Silence(reason: reason, since: now, looks: 0)
                silence.reason = reason
                silence.looks += 1
                self.silences[answer.service] = silence
                return silence.looks == Self.looksUntilLost ? .lost(answer.service, reason: reason) : nil
            }
        }
    }

    /// The kinds of servers without which the deployment is not whole.
    ///
    /// Of several members of etcd a majority is enough.
    func missing(of services: [ExternalService]) -> [String] {
        Dictionary(grouping: services, by: \.kind)
            .filter { _, members in 2 * members.count(where: self.isLost) >= members.count }
            .keys.sorted()
    }

    func status(of service: ExternalService, at now: ContinuousClock.Instant) -> ExternalServiceStatus {
        let silence = self.isLost(service) ? self.silences[service] : nil
        return ExternalServiceStatus(
            name: service.name,
            url: service.maskedURL,
            failure: silence?.reason,
            silentFor: silence.map { (now - $0.since).inSeconds }
        )
    }

    private func isLost(_ service: ExternalService) -> Bool {
        (self.silences[service]?.looks ?? 0) >= Self.looksUntilLost
    }
}
