import Testing

@testable import NATS

@Suite struct ReconnectBackoffTests {
    private let backoff = ReconnectBackoff(first: .milliseconds(100), maximum: .seconds(1))

    @Test func `doubles up to the maximum`() {
        let delays = (1...8).map { self.backoff.delay(attempt: $0, random: 0) }
        #expect(delays == [1, 100, 200, 400, 800, 1000, 1000, 1000].map { .milliseconds($0) })
        #expect(self.backoff.delay(attempt: .max, random: 0) == .seconds(1))
    }

    @Test func `chance takes up to a half`() {
        #expect(self.backoff.delay(attempt: 2, random: 1) == .milliseconds(50))
        #expect(self.backoff.delay(attempt: 9, random: 0.5) == .milliseconds(750))
        #expect(self.backoff.delay(attempt: 1, random: 1) == .milliseconds(26))
    }
}
