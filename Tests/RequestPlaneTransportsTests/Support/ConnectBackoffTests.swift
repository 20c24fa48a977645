import NIOCore
import RequestPlane
import Testing

@testable import RequestPlaneTransports

@Suite struct ConnectBackoffTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func failure(_ text: String) -> PlaneFailure { PlaneFailure(.connectFailed, text) }

    @Test func doublesUpToASecond() throws {
        var backoff = ConnectBackoff()
        var now = self.start
        for milliseconds in [50, 100, 200, 400, 800, 1000, 1000] {
            #expect(backoff.penalty(at: now) == nil)
            backoff.failed(self.failure("no"), now: now)
            let penalty = try #require(backoff.penalty(at: now))
            #expect(penalty.until == now + .milliseconds(Int64(milliseconds)))
            now = penalty.until
        }
    }

    @Test func attemptsAtTheSameTimeCountAsOne() throws {
        var backoff = ConnectBackoff()
        backoff.failed(self.failure("first"), now: self.start)
        backoff.failed(self.failure("second"), now: self.start + .milliseconds(49))
        let penalty = try #require(backoff.penalty(at: self.start))
        #expect(penalty.until == self.start + .milliseconds(50))
        #expect(penalty.failure == self.failure("second"))
    }

    @Test func successForgets() throws {
        var backoff = ConnectBackoff()
        backoff.failed(self.failure("no"), now: self.start)
        backoff.failed(self.failure("no"), now: self.start + .seconds(1))
        backoff.succeeded()
        #expect(backoff.penalty(at: self.start) == nil)
        backoff.failed(self.failure("no"), now: self.start)
        #expect(try #require(backoff.penalty(at: self.start)).until == self.start + .milliseconds(50))
    }
}
