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
        var isLost = false
    }

    /// A server that answers again within this time was only started again.
    private static let doubt: Duration = .seconds(1)

    private var silences: [ExternalService: Silence] = [:]
    /// Whether nobody has asked yet: before a start they are asked first, before an adoption not.
    var isUnknown = false

    /// Until they are asked again: soon when one is in doubt.
    var pause: Duration { self.silences.values.contains { !$0.isLost } ? Self.doubt : .seconds(5) }

    /// Takes what all of them have said.
    ///
    /// - Parameters:
    ///   - answers: of each that the deployment needs now; of others nothing is known any more.
    ///   - now: when.
    /// - Returns: what is different now.
    mutating func saw(_ answers: [ServiceAnswer], at now: ContinuousClock.Instant) -> [Change] {
        self.isUnknown = false
        let asked = Set(answers.map(\.service))
        self.silences = self.silences.filter { asked.contains($0.key) }
        return answers.compactMap { answer in
            switch answer.outcome {
            case .success:
                guard let silence = self.silences.removeValue(forKey: answer.service) else { return nil }
                guard silence.isLost else { return nil }
                return .back(answer.service, seconds: (now - silence.since).inSeconds)
            case .failure(let reason):
                var silence = self.silences[answer.service] ?? Silence(reason: reason, since: now)
                let wasLost = silence.isLost
                silence.reason = reason
                silence.isLost = wasLost || now - silence.since >= Self.doubt
                self.silences[answer.service] = silence
                return silence.isLost && !wasLost ? .lost(answer.service, reason: reason) : nil
            }
        }
    }

    /// The kinds of servers without which the deployment is not whole.
    ///
    /// Of several members of etcd a majority is enough.
    func missing(of services: [ExternalService]) -> [String] { self.kinds(of: services, without: self.isLost) }

    /// Whether all kinds of servers have answered when they were last asked.
    func answer(of services: [ExternalService]) -> Bool {
        !(self.isUnknown && !services.isEmpty)
            && self.kinds(of: services) { self.silences[$0] != nil }.isEmpty
    }

    /// The servers that are missing, in words; nil when none is.
    func missingWords(of services: [ExternalService]) -> String? {
        let words = self.missing(of: services).map { kind in
            let urls = services.filter { $0.kind == kind && self.isLost($0) }.map(\.maskedURL)
            return "\(kind) at \(urls.joined(separator: ", "))"
        }
        return words.isEmpty ? nil : words.joined(separator: " and ")
    }

    private func kinds(of services: [ExternalService], without isSilent: (ExternalService) -> Bool) -> [String] {
        Dictionary(grouping: services, by: \.kind)
            .filter { _, members in 2 * members.count(where: isSilent) >= members.count }
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

    private func isLost(_ service: ExternalService) -> Bool { self.silences[service]?.isLost ?? false }
}
