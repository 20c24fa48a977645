import Gateway
import NIOCore
import Testing

/// The machine alone: who gets a request, who waits, who is left alone.
@Suite struct TrafficTests {
    typealias Machine = Traffic<String>

    private static let one = Backend(id: "frontend-0", generation: 1, host: "127.0.0.1", port: 1)
    private static let two = Backend(id: "frontend-1", generation: 1, host: "127.0.0.1", port: 2)

    private static func time(_ milliseconds: Int64) -> NIODeadline {
        .uptimeNanoseconds(1_000_000_000) + .milliseconds(milliseconds)
    }

    private static func machine(
        hold: HoldPolicy = HoldPolicy(maximumRequests: 2, maximumBytes: 100, patience: .seconds(10)),
        requests: Int = 100,
        _ backends: [Backend] = []
    ) -> Machine {
        var machine = Machine(hold: hold, upstream: UpstreamPolicy(), maximumRequests: requests)
        _ = machine.setBackends(backends, now: self.time(0))
        return machine
    }

    private static func sent(_ decision: Machine.Decision) throws -> Machine.Assignment {
        guard case .send(let assignment) = decision else { throw Unexpected(decision: decision) }
        return assignment
    }

    private struct Unexpected: Error { var decision: Machine.Decision }

    @Test func theLeastBusyBackendGetsTheRequest() throws {
        var machine = Self.machine([Self.one, Self.two])
        let first = try Self.sent(machine.arrive("a", bytes: 1, now: Self.time(0)))
        let second = try Self.sent(machine.arrive("b", bytes: 1, now: Self.time(0)))
        #expect(Set([first.backend, second.backend]) == [Self.one, Self.two])
        _ = machine.finish(first, ExchangeResult(.answered(status: 200)), now: Self.time(1))
        #expect(try Self.sent(machine.arrive("c", bytes: 1, now: Self.time(1))).backend == first.backend)
        #expect(machine.inFlight == 2)
    }

    @Test func equalsTakeTurns() throws {
        var machine = Self.machine([Self.one, Self.two])
        var order: [Backend] = []
        for _ in 0..<4 {
            let assignment = try Self.sent(machine.arrive("a", bytes: 1, now: Self.time(0)))
            order.append(assignment.backend)
            _ = machine.finish(assignment, ExchangeResult(.answered(status: 200)), now: Self.time(0))
        }
        #expect(order == [Self.one, Self.two, Self.one, Self.two])
    }

    @Test func requestsWaitInOrderUntilABackendComes() throws {
        var machine = Self.machine()
        #expect(machine.arrive("a", bytes: 10, now: Self.time(0)) == .hold(0))
        #expect(machine.arrive("b", bytes: 20, now: Self.time(1)) == .hold(1))
        #expect(machine.heldRequests == 2 && machine.heldBytes == 30)
        let actions = machine.setBackends([Self.one], now: Self.time(5))
        let waiters = actions.compactMap { if case .send(let waiter, _) = $0 { waiter } else { nil } }
        #expect(waiters == ["a", "b"])
        #expect(machine.heldRequests == 0 && machine.heldBytes == 0 && machine.inFlight == 2)
    }

    @Test func theHoldIsBoundInNumberBytesAndTime() throws {
        var machine = Self.machine()
        _ = machine.arrive("a", bytes: 60, now: Self.time(0))
        guard case .refuse(let full) = machine.arrive("big", bytes: 50, now: Self.time(0)) else {
            Issue.record("more bytes are held than allowed")
            return
        }
        #expect(full.status == 503 && full.retryAfter != nil)
        _ = machine.arrive("b", bytes: 1, now: Self.time(1))
        guard case .refuse = machine.arrive("c", bytes: 1, now: Self.time(2)) else {
            Issue.record("more requests are held than allowed")
            return
        }
        #expect(machine.wakeTime() == Self.time(10_000))
        #expect(machine.tick(now: Self.time(9_999)) == [])
        guard case .refuse("a", let late)? = machine.tick(now: Self.time(10_000)).first else {
            Issue.record("patience does not end")
            return
        }
        #expect(late.status == 503 && late.retryAfter != nil)
        #expect(machine.heldRequests == 1 && machine.wakeTime() == Self.time(10_001))
    }

    @Test func noHoldRefusesAtOnce() {
        var machine = Self.machine(hold: HoldPolicy(maximumRequests: 0))
        guard case .refuse(let refusal) = machine.arrive("a", bytes: 1, now: Self.time(0)) else {
            Issue.record("held although nothing may be")
            return
        }
        #expect(refusal.status == 503)
    }

    @Test func whoLeavesIsForgotten() {
        var machine = Self.machine()
        guard case .hold(let id) = machine.arrive("a", bytes: 10, now: Self.time(0)) else { return }
        machine.leave(id)
        #expect(machine.heldBytes == 0 && machine.wakeTime() == nil)
        #expect(machine.setBackends([Self.one], now: Self.time(1)) == [])
    }

    @Test func aRefusedConnectionEjectsAtOnceUntilTheBackendSaysThatItIsWell() throws {
        var machine = Self.machine([Self.one])
        let first = try Self.sent(machine.arrive("a", bytes: 1, now: Self.time(0)))
        #expect(machine.finish(first, ExchangeResult(.failed(.connect)), now: Self.time(0)) == [])
        // It is asked although nobody waits.
        #expect(machine.wakeTime() == Self.time(200))
        #expect(machine.tick(now: Self.time(199)) == [])
        #expect(machine.tick(now: Self.time(200)) == [.probe(slot: first.slot, Self.one)])
        #expect(machine.tick(now: Self.time(201)) == [], "once at a time")
        // No request is risked meanwhile.
        #expect(machine.arrive("a", bytes: 1, deadline: Self.time(9000), now: Self.time(201)) == .hold(0))
        #expect(machine.arrive("b", bytes: 1, now: Self.time(202)) == .hold(1))
        #expect(machine.wakeTime() == Self.time(9000))
        // Twice as long each time.
        #expect(machine.probed(slot: first.slot, isWell: false, now: Self.time(210)) == [])
        #expect(machine.wakeTime() == Self.time(610))
        #expect(machine.tick(now: Self.time(610)) == [.probe(slot: first.slot, Self.one)])
        let actions = machine.probed(slot: first.slot, isWell: true, now: Self.time(620))
        let sent = actions.compactMap { if case .send(let waiter, _) = $0 { waiter } else { nil } }
        #expect(sent == ["a", "b"] && machine.statistics.first?.ejections == 1)
        #expect(machine.probed(slot: first.slot, isWell: false, now: Self.time(621)) == [], "nobody asked")
        _ = try Self.sent(machine.arrive("c", bytes: 1, now: Self.time(621)))
    }

    @Test func anAnswerFromBeforeReadmitsNobody() throws {
        var machine = Self.machine([Self.one])
        let running = try Self.sent(machine.arrive("a", bytes: 1, now: Self.time(0)))
        let refused = try Self.sent(machine.arrive("b", bytes: 1, now: Self.time(0)))
        _ = machine.finish(refused, ExchangeResult(.failed(.connect)), now: Self.time(0))
        #expect(machine.finish(running, ExchangeResult(.answered(status: 200)), now: Self.time(1)) == [])
        #expect(machine.arrive("c", bytes: 1, now: Self.time(2)) == .hold(0))
        // One that failed before is no second ejection, and a backend that is gone is not asked.
        #expect(machine.statistics.first?.ejections == 1)
        _ = machine.setBackends([], now: Self.time(3))
        #expect(machine.tick(now: Self.time(300)) == [])
        #expect(machine.wakeTime() == Self.time(10_002))
    }

    @Test func failuresInARowEjectAndOthersTakeOver() throws {
        var machine = Self.machine([Self.one])
        for _ in 0..<3 {
            let assignment = try Self.sent(machine.arrive("a", bytes: 1, now: Self.time(0)))
            _ = machine.finish(assignment, ExchangeResult(.failed(.closedBeforeHead)), now: Self.time(0))
        }
        #expect(machine.arrive("a", bytes: 1, now: Self.time(1)) == .hold(0))
        let actions = machine.setBackends([Self.one, Self.two], now: Self.time(2))
        guard case .send("a", let assignment)? = actions.first else {
            Issue.record("nobody takes over")
            return
        }
        #expect(assignment.backend == Self.two)
    }

    @Test func aBackendThatIsGoneFinishesWhatItHas() throws {
        var machine = Self.machine([Self.one])
        let running = try Self.sent(machine.arrive("a", bytes: 1, now: Self.time(0)))
        #expect(machine.setBackends([Self.two], now: Self.time(1)) == [.retire(slot: running.slot)])
        #expect(try Self.sent(machine.arrive("b", bytes: 1, now: Self.time(1))).backend == Self.two)
        _ = machine.finish(
            running,
            ExchangeResult(.answered(status: 200), firstByte: .milliseconds(3), duration: .milliseconds(7)),
            now: Self.time(2)
        )
        let past = try #require(machine.statistics.first { $0.backend == Self.one })
        #expect(past.requests == 1 && past.inFlight == 0 && past.duration.count == 1 && past.firstByte.count == 1)
        // Back under its name, its numbers go on.
        _ = machine.setBackends([Self.one], now: Self.time(3))
        #expect(machine.statistics.first { $0.backend == Self.one }?.requests == 1)
        #expect(try Self.sent(machine.arrive("c", bytes: 1, now: Self.time(4))).slot != running.slot)
    }

    @Test func aBackendThatIsBackWhileItsRequestsRunIsCountedOnce() throws {
        var machine = Self.machine([Self.one])
        let running = try Self.sent(machine.arrive("a", bytes: 1, now: Self.time(0)))
        _ = machine.setBackends([], now: Self.time(1))
        _ = machine.setBackends([Self.one], now: Self.time(2))
        let second = try Self.sent(machine.arrive("b", bytes: 1, now: Self.time(2)))
        #expect(machine.statistics.map(\.backend) == [Self.one] && machine.statistics.first?.inFlight == 2)
        for assignment in [running, second] {
            let result = ExchangeResult(.answered(status: 200), firstByte: .milliseconds(1), duration: .seconds(1))
            _ = machine.finish(assignment, result, now: Self.time(3))
        }
        let statistics = try #require(machine.statistics.first)
        #expect(machine.statistics.count == 1 && statistics.requests == 2 && statistics.inFlight == 0)
        #expect(statistics.duration.count == 2 && statistics.firstByte.sum == 0.002)
    }

    @Test func runningRequestsAreBound() throws {
        var machine = Self.machine(requests: 1, [Self.one])
        let first = try Self.sent(machine.arrive("a", bytes: 1, now: Self.time(0)))
        guard case .refuse(let refusal) = machine.arrive("b", bytes: 1, now: Self.time(0)) else {
            Issue.record("more requests run than allowed")
            return
        }
        #expect(refusal.status == 503 && refusal.code == "too_many_requests" && refusal.retryAfter == 1)
        _ = machine.finish(first, ExchangeResult(.clientLeft), now: Self.time(1))
        _ = try Self.sent(machine.arrive("c", bytes: 1, now: Self.time(1)))
        #expect(machine.statistics.first?.cancelled == 1)
    }
}
