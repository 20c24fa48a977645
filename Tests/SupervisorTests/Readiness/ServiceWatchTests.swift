import Deployment
import Testing

@testable import Supervisor

/// Servers outside the deployment that stop answering, and answer again.
@Suite struct ServiceWatchTests {
    private let start = ContinuousClock.now
    private var watch = ServiceWatch()

    private static func service(_ name: String) -> ExternalService {
        ExternalService(name: name, url: "http://\(name)", probe: .tcp(host: "127.0.0.1", port: 1))
    }

    private static let nats = Self.service("nats")
    private static let etcd = (0..<3).map { Self.service("etcd-\($0)") }

    private static func answers(_ services: [ExternalService], silent: [ExternalService] = []) -> [ServiceAnswer] {
        services.map { ServiceAnswer(service: $0, outcome: silent.contains($0) ? .failure("refused") : .success) }
    }

    private mutating func saw(
        _ services: [ExternalService],
        silent: [ExternalService] = [],
        after seconds: Int
    ) -> [ServiceWatch.Change] {
        self.watch.saw(Self.answers(services, silent: silent), at: self.start + .seconds(seconds))
    }

    @Test mutating func `one that does not answer is asked again soon, and lost then`() {
        #expect(self.watch.pause == .seconds(5))
        #expect(self.saw([Self.nats], silent: [Self.nats], after: 5) == [])
        #expect(self.watch.missing(of: [Self.nats]) == [] && self.watch.pause == .seconds(1))
        #expect(self.saw([Self.nats], silent: [Self.nats], after: 6) == [.lost(Self.nats, reason: "refused")])
        #expect(self.watch.missing(of: [Self.nats]) == ["nats"] && self.watch.pause == .seconds(5))
        let status = self.watch.status(of: Self.nats, at: self.start + .seconds(9))
        #expect(
            status == ExternalServiceStatus(name: "nats", url: "http://nats", failure: "refused", silentFor: 4)
        )
        // It is said once.
        #expect(self.saw([Self.nats], silent: [Self.nats], after: 11) == [])
        #expect(self.saw([Self.nats], after: 16) == [.back(Self.nats, seconds: 11)])
        #expect(self.watch.missing(of: [Self.nats]) == [])
        #expect(self.watch.status(of: Self.nats, at: self.start).failure == nil)
    }

    @Test mutating func `one that was only started again is not lost`() {
        #expect(self.saw([Self.nats], silent: [Self.nats], after: 5) == [])
        #expect(self.saw([Self.nats], after: 6) == [])
        #expect(self.saw([Self.nats], silent: [Self.nats], after: 11) == [])
        #expect(self.watch.missing(of: [Self.nats]) == [])
    }

    @Test mutating func `of several members a majority is enough`() {
        let all = Self.etcd + [Self.nats]
        for turn in 1...2 { _ = self.saw(all, silent: [Self.etcd[1]], after: turn) }
        #expect(self.watch.missing(of: all) == [])
        #expect(self.watch.status(of: Self.etcd[1], at: self.start).failure == "refused")
        for turn in 3...4 { _ = self.saw(all, silent: [Self.etcd[1], Self.etcd[2]], after: turn) }
        #expect(self.watch.missing(of: all) == ["etcd"])
    }

    @Test mutating func `one that is not needed any more is forgotten`() {
        for turn in 1...2 { _ = self.saw([Self.nats], silent: [Self.nats], after: turn) }
        #expect(self.saw([], after: 3) == [])
        #expect(self.watch.missing(of: [Self.nats]) == [])
    }

    @Test mutating func `one that is asked twice in a moment is not lost by that`() {
        for _ in 1...3 { #expect(self.saw([Self.nats], silent: [Self.nats], after: 5) == []) }
        #expect(self.watch.missing(of: [Self.nats]) == [] && self.watch.pause == .seconds(1))
        #expect(!self.watch.answer(of: [Self.nats]))
    }

    @Test mutating func `what is missing is named with its addresses`() {
        let all = Self.etcd + [Self.nats]
        for turn in 1...2 { _ = self.saw(all, silent: [Self.etcd[0], Self.etcd[2], Self.nats], after: turn) }
        #expect(self.watch.missingWords(of: all) == "etcd at http://etcd-0, http://etcd-2 and nats at http://nats")
        #expect(self.watch.missingWords(of: Self.etcd.suffix(1)) == "etcd at http://etcd-2")
        #expect(self.watch.missingWords(of: []) == nil)
    }
}
